"""The HTTP service: masks and images come in, jobs are told about, the store is served. It computes no map.

`create_app` in `api.app` builds it, `python -m api` runs it. It shares the data folder and the queue with the
worker and imports nothing of it.
"""
