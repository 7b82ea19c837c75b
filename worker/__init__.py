"""The worker of a service: `python -m worker` takes jobs from the queue and runs each through the pipeline.

`supervisor` keeps a process alive, `child` is that process, `cases` is what it does for a job. The queue
itself is `dmapsvc.jobs`.
"""
