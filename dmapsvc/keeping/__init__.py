"""Housekeeping of a service: what nobody needs any more goes, each kind after its own limit.

`collect` does it once, for `dmapsvc gc`; `housekeeper` does it now and then inside a worker. What is kept, by
whom and for how long, is one table in docs/housekeeping.md. Nothing here decides what a job's state is.
"""
