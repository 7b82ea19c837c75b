"""What every database must give `Jobs`, while no worker runs: acceptance, asking, cancelling, forgetting."""

from __future__ import annotations

import multiprocessing
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from dmapsvc.errors import BadInput, Busy, Conflict, NotFound
from dmapsvc.jobs import Job, Kind, State
from dmapsvc.jobs.acceptance import stop
from dmapsvc.jobs.database import open_database, writing
from dmapsvc.jobs.engine import Jobs, remove_uploads
from dmapsvc.jobs.ledger import Ledger
from dmapsvc.jobs.retention import Retention
from dmapsvc.jobs.table import positions, runs
from dmapsvc.settings import Settings
from tests.jobs.asking import insert_batch, noted, request, uploads


def submit_in_process(settings: Settings, case: str) -> str:
    """Open the queue, submit, and close it: what each of several APIs does."""
    with Jobs(settings) as jobs:
        return jobs.submit(request(settings, case))[0].id


def explain(database: sa.Engine, statement: str, parameters: Any) -> str:
    """How the database goes about a statement, knowing what is in its tables."""
    explained = "EXPLAIN QUERY PLAN"
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.dialect.name == "postgresql":
            explained = "EXPLAIN"
            connection.exec_driver_sql("VACUUM ANALYZE dmapsvc_runs")
        rows = connection.exec_driver_sql(f"{explained} {statement}", parameters)
        return "\n".join(str(row[-1]) for row in rows)


class QueueContract:
    """Inherit it and give the fixtures `settings`, and `unmade` for a database that has no tables yet."""

    def test_a_submitted_job_is_queued_with_all_that_was_said(self, jobs: Jobs, settings: Settings) -> None:
        asked = request(settings, "a", behaviour="knee.nii.gz")
        job, created = jobs.submit(asked, published_revision=4)
        assert created
        assert job == jobs.get(asked.id)
        assert (job.id, job.run, job.state, job.position) == (asked.id, 1, State.QUEUED, 1)
        assert (job.dataset, job.case, job.sha256, job.filename) == (
            "knees",
            "a",
            asked.sha256,
            "knee.nii.gz",
        )
        assert (job.revision, job.attempts, job.percent, job.problem) == (5, 0, 0.0, None)
        assert job.created is not None
        assert job.created.utcoffset() is not None
        assert job.started is None
        assert job.ended is None

    def test_the_same_upload_again_is_the_same_job(self, jobs: Jobs, settings: Settings) -> None:
        first, _ = jobs.submit(request(settings))
        again, created = jobs.submit(request(settings))
        assert not created
        assert again == first
        assert len(jobs.list().jobs) == 1

    def test_a_job_that_waits_without_its_upload_takes_the_one_that_comes_again(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        first, again, third = (request(settings) for _ in range(3))
        job, _ = jobs.submit(first)
        remove_uploads(settings.spool, [first.spool])
        assert jobs.submit(again) == (job, True)
        assert jobs.submit(third) == (job, False)
        jobs.cancel(job.id)
        jobs.retry(job.id)
        remove_uploads(settings.spool, [third.spool])
        assert uploads(settings) == {again.spool}

    def test_what_was_accepted_is_so_though_clearing_up_after_it_fails(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        first = request(settings)
        jobs.submit(first)
        upload = settings.spool / str(first.spool)
        upload.unlink()
        upload.mkdir()  # which no unlink removes
        job, taken = jobs.submit(request(settings, mask="second", replace=True))
        assert taken
        assert [live.id for live in jobs.live("knees", "a")] == [job.id]

    def test_many_at_once_make_one_run(self, jobs: Jobs, settings: Settings) -> None:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: jobs.submit(request(settings)), range(16)))
        assert sum(created for _, created in answers) == 1
        assert {job.run for job, _ in answers} == {1}

    def test_another_mask_of_the_case_is_a_conflict_that_names_both(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        first, second = request(settings, mask="first"), request(settings, mask="second")
        jobs.submit(first)
        with pytest.raises(Conflict) as caught:
            jobs.submit(second)
        assert first.sha256 in caught.value.detail
        assert second.sha256 in caught.value.detail
        jobs.submit(request(settings, case="b", mask="second"))  # another case may

    def test_the_same_mask_with_another_spacing_is_another(self, jobs: Jobs, settings: Settings) -> None:
        """A NumPy file's spacing is not in its hash, so not in the job's id."""
        first, _ = jobs.submit(request(settings, spacing=(1.0, 1.0, 1.0)))
        assert jobs.submit(request(settings, spacing=(1.0, 1.0, 1.0))) == (first, False)
        assert jobs.submit(request(settings, spacing=None)) == (first, False)
        with pytest.raises(Conflict, match=r"1\.0, 1\.0, 1\.0.*2\.0, 1\.0, 1\.0"):
            jobs.submit(request(settings, spacing=(2.0, 1.0, 1.0)))
        wanted = request(settings, spacing=(2.0, 1.0, 1.0), replace=True)
        second, created = jobs.submit(wanted)
        assert created
        assert (second.id, second.run, second.revision) == (first.id, 2, first.revision + 1)
        assert [job.run for job in jobs.live("knees", "a")] == [2]
        assert wanted.spool in uploads(settings)

    def test_replace_cancels_the_other_and_takes_a_higher_revision(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        first = request(settings, mask="first")
        old, _ = jobs.submit(first)
        new, created = jobs.submit(request(settings, mask="second", replace=True))
        assert created
        assert new.revision > old.revision
        assert jobs.get(old.id).state is State.CANCELLED
        assert first.spool not in uploads(settings)
        back, _ = jobs.submit(request(settings, mask="first", replace=True))
        assert (back.id, back.run, back.state) == (old.id, 2, State.QUEUED)
        assert back.revision > new.revision

    def test_image_and_mask_of_a_case_wait_side_by_side_and_the_newer_image_wins(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        mask, _ = jobs.submit(request(settings))
        old, _ = jobs.submit(request(settings, kind=Kind.IMAGE, mask="first"))
        new, _ = jobs.submit(request(settings, kind=Kind.IMAGE, mask="second"))
        assert {job.id for job in jobs.live("knees", "a")} == {mask.id, new.id}
        assert jobs.get(old.id).state is State.CANCELLED

    def test_a_full_queue_is_busy(self, settings: Settings) -> None:
        with Jobs(settings.model_copy(update={"max_queue": 2})) as jobs:
            jobs.submit(request(settings, "a"))
            last, _ = jobs.submit(request(settings, "b"))
            with pytest.raises(Busy):
                jobs.submit(request(settings, "c"))
            assert jobs.submit(request(settings, "a"))[1] is False  # the same again takes no place
            jobs.cancel(last.id)
            jobs.submit(request(settings, "c"))

    def test_a_queued_job_is_cancelled_at_once(self, jobs: Jobs, settings: Settings) -> None:
        job, _ = jobs.submit(request(settings))
        cancelled = jobs.cancel(job.id)
        assert (cancelled.state, cancelled.problem, cancelled.position) == (State.CANCELLED, None, None)
        assert cancelled.ended is not None
        assert jobs.cancel(job.id) == cancelled

    def test_a_job_that_is_handed_back_while_it_is_cancelled_is_cancelled(
        self, jobs: Jobs, settings: Settings, database: sa.Engine
    ) -> None:
        """A cancel looks for it among those that wait and then among those that run; it must be in one."""
        job, _ = jobs.submit(request(settings))
        ledger = Ledger(database, "stopping")
        assert ledger.begin(f"{job.id}.1")
        worker = threading.Thread(target=ledger.hand_back)

        def let_it_stop(*_: object) -> None:
            if worker.ident is None:
                worker.start()
                worker.join(0.5)  # as far as it gets: it may have to wait for this transaction

        with writing(database) as connection:
            row = connection.execute(sa.select(runs)).one()
            sa.event.listen(connection, "after_cursor_execute", let_it_stop)
            stop(connection, [row])
        worker.join()
        assert jobs.get(job.id).state is State.CANCELLED

    def test_a_cancelled_job_runs_again_from_its_upload(self, jobs: Jobs, settings: Settings) -> None:
        asked = request(settings)
        job, _ = jobs.submit(asked)
        jobs.cancel(job.id)
        again = jobs.retry(job.id)
        assert (again.id, again.run, again.state) == (job.id, 2, State.QUEUED)
        assert uploads(settings) == {asked.spool}

    def test_a_cancelled_jobs_upload_gives_way_to_a_newer_one(self, jobs: Jobs, settings: Settings) -> None:
        job, _ = jobs.submit(request(settings))
        jobs.cancel(job.id)
        newer = request(settings, mask="second")
        jobs.submit(newer)
        assert uploads(settings) == {newer.spool}
        with pytest.raises(Conflict, match="upload is gone"):
            jobs.retry(job.id)

    def test_a_cancelled_job_runs_again_when_it_is_uploaded_again(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        job, _ = jobs.submit(request(settings))
        jobs.cancel(job.id)
        asked = request(settings)
        again, created = jobs.submit(asked)
        assert created
        assert (again.id, again.run, again.state) == (job.id, 2, State.QUEUED)
        assert uploads(settings) == {asked.spool}

    def test_a_job_that_is_tried_again_is_newer_than_what_was_published_meanwhile(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        job, _ = jobs.submit(request(settings))
        jobs.cancel(job.id)
        assert jobs.retry(job.id, published_revision=7).revision == 8

    def test_only_what_ended_badly_is_tried_again(self, jobs: Jobs, settings: Settings) -> None:
        job, _ = jobs.submit(request(settings))
        with pytest.raises(Conflict, match="queued"):
            jobs.retry(job.id)

    def test_positions_count_those_before_it(self, jobs: Jobs, settings: Settings) -> None:
        submitted = [jobs.submit(request(settings, case))[0] for case in "abcd"]
        jobs.cancel(submitted[1].id)
        assert [jobs.get(job.id).position for job in submitted] == [1, None, 2, 3]
        assert [job.position for job in jobs.list(case="d").jobs] == [3]
        assert [job.position for job in jobs.list().jobs] == [3, 2, None, 1]

    def test_a_place_is_counted_from_the_part_of_the_index_that_lies_before_it(
        self, jobs: Jobs, settings: Settings, database: sa.Engine
    ) -> None:
        asked_for = request(settings)
        insert_batch(database, [replace(asked_for, case=f"c{number}") for number in range(4000)])
        with database.begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.seq <= 2000).values(state=State.DONE))
        with database.connect() as connection:
            last = connection.execute(sa.select(runs).where(runs.c.seq == 2100)).one()
            with noted(database) as asked:
                assert positions(connection, [last]) == {last.seq: 100}
        plan = explain(database, *next(one for one in asked if "row_number" not in one[0]))
        assert plan.count("dmapsvc_runs_queue") == 2, plan
        assert re.search(r"state ?=[^\n]*priority ?<", plan), plan
        assert re.search(r"state ?=[^\n]*priority ?=[^\n]*seq ?<", plan), plan
        assert not re.search("OR|Filter", plan), plan

    def test_an_upload_overtakes_a_batch(self, jobs: Jobs, settings: Settings, database: sa.Engine) -> None:
        waiting = [request(settings, case) for case in "abc"]
        insert_batch(database, waiting)
        upload, _ = jobs.submit(request(settings, "d"))
        assert upload.position == 1
        assert [jobs.get(asked.id).position for asked in waiting] == [2, 3, 4]
        assert [job.position for job in jobs.list().jobs] == [1, 4, 3, 2]

    def test_a_case_of_a_batch_that_is_tried_again_waits_behind_uploads(
        self, jobs: Jobs, settings: Settings, database: sa.Engine
    ) -> None:
        asked = request(settings)
        insert_batch(database, [asked], "weekend")
        jobs.cancel(asked.id)
        jobs.retry(asked.id)
        upload, _ = jobs.submit(request(settings, "b"))
        assert (upload.position, jobs.get(asked.id).position) == (1, 2)
        with database.connect() as connection:
            found = connection.execute(sa.select(runs.c.case_name, runs.c.n, runs.c.batch)).all()
        assert set(found) == {("a", 1, None), ("a", 2, "weekend"), ("b", 1, None)}  # counted once

    def test_a_live_mask_is_found_behind_any_number_of_images(self, jobs: Jobs, settings: Settings) -> None:
        mask, _ = jobs.submit(request(settings, "mask"))
        for number in range(101):
            jobs.submit(request(settings, f"image{number}", kind=Kind.IMAGE))
        assert jobs.has_live("knees", Kind.MASK)
        assert not jobs.has_live("hips", Kind.MASK)
        jobs.cancel(mask.id)
        assert not jobs.has_live("knees", Kind.MASK)
        assert jobs.has_live("knees", Kind.IMAGE)

    def test_a_list_is_filtered_and_paged_newest_first(self, jobs: Jobs, settings: Settings) -> None:
        for case in "abcde":
            jobs.submit(request(settings, case))
        other, _ = jobs.submit(request(settings, "a", dataset="hips"))
        jobs.cancel(other.id)
        pages: list[tuple[Job, ...]] = []
        cursor = None
        while True:
            page = jobs.list(dataset="knees", limit=2, cursor=cursor)
            pages.append(page.jobs)
            jobs.submit(request(settings, f"late{len(pages)}"))  # pages do not shift when jobs come
            cursor = page.next
            if cursor is None:
                break
        assert [[job.case for job in page] for page in pages] == [["e", "d"], ["c", "b"], ["a"]]
        assert [job.dataset for job in jobs.list(case="a").jobs] == ["hips", "knees"]
        assert [job.id for job in jobs.list(state=State.CANCELLED).jobs] == [other.id]
        with pytest.raises(BadInput):
            jobs.list(cursor="x; drop")

    def test_a_list_shows_a_job_once_at_its_latest_run(self, jobs: Jobs, settings: Settings) -> None:
        job, _ = jobs.submit(request(settings))
        jobs.cancel(job.id)
        jobs.submit(request(settings))
        assert [(job.run, job.state) for job in jobs.list().jobs] == [(2, State.QUEUED)]
        assert not jobs.list(state=State.CANCELLED).jobs

    def test_what_is_forgotten_is_gone_and_may_come_again(self, jobs: Jobs, settings: Settings) -> None:
        kept = request(settings, "b")
        gone, _ = jobs.submit(request(settings, "a"))
        jobs.submit(kept)
        jobs.forget("knees", "a")
        with pytest.raises(NotFound):
            jobs.get(gone.id)
        assert uploads(settings) == {kept.spool}
        again, created = jobs.submit(request(settings, "a"))
        assert created
        assert again.state is State.QUEUED
        jobs.forget("knees")
        assert not jobs.list().jobs
        assert not uploads(settings)

    def test_an_unknown_job_is_not_found(self, jobs: Jobs) -> None:
        for call in (jobs.get, jobs.cancel, jobs.retry):
            with pytest.raises(NotFound):
                call("0" * 64)

    def test_waiting_ends_with_the_time_or_with_the_job(self, jobs: Jobs, settings: Settings) -> None:
        job, _ = jobs.submit(request(settings))
        assert jobs.wait(job.id, 0.05).state is State.QUEUED
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(jobs.wait, job.id, 30)
            jobs.cancel(job.id)
            assert waiting.result().state is State.CANCELLED

    def test_the_database_answers(self, jobs: Jobs) -> None:
        jobs.ping()

    def test_processes_that_open_it_at_once_make_it_once(self, unmade: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        with context.Pool(2) as pool:
            pool.starmap(submit_in_process, [(unmade, case) for case in "ab"])
        with Jobs(unmade) as jobs:
            assert {job.case for job in jobs.list().jobs} == {"a", "b"}

    def test_what_ended_before_a_day_is_forgotten_and_nothing_else(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        first, second = (jobs.submit(request(settings, case))[0] for case in "ab")
        waiting = request(settings, "c")
        jobs.submit(waiting)
        jobs.cancel(first.id)
        between = time.time()
        jobs.cancel(second.id)
        database = open_database(settings)
        with closing(Retention(database, settings.spool)) as retention:
            retention.forget_runs(between)
            assert {job.case for job in jobs.list().jobs} == {"b", "c"}
            count, kept = retention.ended_runs(time.time())
            assert (count, len(kept), kept[0].is_file()) == (1, 1, True)
            retention.forget_runs(time.time())
            assert uploads(settings) == retention.needed_uploads() == {waiting.spool}
            ended = retention.ended_workflows(time.time() + 1)
            assert {name.partition(".")[0] for name in ended} == {first.id, second.id}
            retention.forget_workflows(ended)
            assert retention.ended_workflows(time.time() + 1) == []
        database.dispose()
        assert [job.case for job in jobs.list().jobs] == ["c"]
        assert jobs.submit(request(settings, "a"))[0].run == 1
