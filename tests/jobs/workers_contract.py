"""What the table of workers must tell, with every database: fake workers as processes, one of them killed."""

from __future__ import annotations

import sqlalchemy as sa

from dmapsvc import __version__
from dmapsvc.jobs import State
from dmapsvc.jobs.engine import Jobs
from dmapsvc.jobs.table import workers
from dmapsvc.jobs.workers import SILENT
from dmapsvc.settings import Settings
from tests.jobs.asking import request
from tests.jobs.processes import Worker, eventually, release


class WorkersContract:
    """Inherit it and give the fixture `settings`."""

    def test_workers_are_listed_until_they_end(
        self, settings: Settings, jobs: Jobs, database: sa.Engine
    ) -> None:
        first = Worker(settings)
        try:
            [told] = eventually(jobs.workers)
            assert (told.pid, told.version, told.away) == (first.process.pid, __version__, False)
            assert (told.backend, told.device, told.concurrency) == ("fake", "none", settings.concurrency)
            assert (told.running, told.memory_used, told.memory_total) == (0, 1, 2**40)
            assert told.seen >= told.started
            job, _ = jobs.submit(request(settings, behaviour="held"))
            eventually(lambda: jobs.get(job.id).state is State.RUNNING)
            assert [worker.running for worker in jobs.workers()] == [1]
        finally:
            first.kill()
        assert [worker.away for worker in jobs.workers()] == [False], "nobody knows yet"
        release(settings, "a")
        second = Worker(settings)
        try:
            eventually(lambda: second.process.pid in [worker.pid for worker in jobs.workers()])
            with database.begin() as connection:
                connection.execute(sa.update(workers).values(seen=workers.c.seen - 2 * SILENT))
            assert jobs.workers()[0].away
            [told] = eventually(lambda: [worker for worker in jobs.workers() if not worker.away])
            assert told.pid == second.process.pid
            eventually(lambda: len(jobs.workers()) == 1)
            assert second.stop() == 0
        finally:
            second.kill()
        assert jobs.workers() == []
