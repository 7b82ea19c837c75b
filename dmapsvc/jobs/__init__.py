"""The job engine: what was accepted is run, once at a time, until it is done, failed or cancelled.

Importing this is light: only the records are here. `dmapsvc.jobs.engine` has `Jobs`, which submits and asks
(the API's side), and `dmapsvc.jobs.executor` has `Executor`, which runs (the worker's side). What a job does
is not known here: the worker hands it in.
"""

from dmapsvc.jobs.record import Device, Job, Kind, Page, Request, State, Worker

__all__ = ["Device", "Job", "Kind", "Page", "Request", "State", "Worker"]
