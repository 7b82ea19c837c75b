"""The worker of a service: `python -m worker` takes jobs from the queue and runs each through the pipeline.

`supervisor` keeps a process alive, `child` is that process, `gpu` the card that is its own, `cases` what it
does for a job, `device` and `metrics` what it tells of itself. The queue itself is `dmapsvc.jobs`.
"""
