"""What a process tells of itself while it works: log lines, traces, and the request or job they are of.

`context` knows what is worked on, `logs` and `tracing` write it down. Metrics are not here: each process has
its own, in `api.metrics` and `worker.metrics`.
"""
