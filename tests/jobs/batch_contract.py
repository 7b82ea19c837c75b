"""What every database must give `Batches`, while no worker runs: accepting, skipping, counting, cancel."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dmapsvc.errors import BadFile, Busy, Conflict, NotFound, TooLarge
from dmapsvc.jobs import Kind, Request, State
from dmapsvc.jobs.batch import Batch, BatchAsked, BatchFile
from dmapsvc.jobs.database import writing
from dmapsvc.jobs.engine import Jobs
from dmapsvc.jobs.retention import Retention
from dmapsvc.jobs.table import runs
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec
from tests.jobs.asking import noted, request, uploads

ASKED = BatchAsked(
    dataset="knees",
    labels="/data/labels",
    images=None,
    pattern="*_seg.*",
    spec=MapSpec(labels=(5, 6), units="mm"),
    spacing=(0.7, 0.36, 0.36),
    replace=False,
)


OTHERS = dataclasses.replace(ASKED, labels="/data/others")


@dataclass
class Published:
    """A shelf of cases by their revision, which notes whose revision was asked."""

    revisions: Mapping[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def cases(self) -> Collection[str]:
        return self.revisions.keys()

    def revision(self, case: str) -> int:
        self.asked.append(case)
        return self.revisions[case]

    def check(self) -> None:
        pass


@dataclass
class Interrupted(Published):
    """A shelf at whose second look, when the first of two parts is taken, something happens."""

    happens: Callable[[], object] = lambda: None
    looks: int = 0

    def check(self) -> None:
        self.looks += 1
        if self.looks == 2:
            self.happens()


def source(case: str, content: str = "", *, kind: Kind = Kind.MASK, replace: bool = False) -> Request:
    """A request for a file that lies somewhere; another `content` is another state of the file."""
    return Request(
        kind=kind,
        dataset="knees",
        case=case,
        sha256=hashlib.sha256(f"{kind} {case} {content}".encode()).hexdigest(),
        spool=None,
        source=f"/data/{kind}/{case}.nii",
        filename=f"{case}.nii",
        spec=ASKED.spec,
        shape=None,
        affine=None,
        spacing=ASKED.spacing,
        bytes=None,
        replace=replace,
    )


MANY = [source(f"case{number:04}") for number in range(600)]  # taken in several transactions


def submit(
    jobs: Jobs, *requests: Request, shelf: Published | None = None, asked: BatchAsked = ASKED
) -> Batch:
    """Submit a batch of these files; those of one case stand side by side."""
    cases: dict[str, list[BatchFile]] = {}
    for one in requests:
        cases.setdefault(one.case, []).append(BatchFile(request=one))
    return jobs.batches.submit(asked, cases.values(), (len(cases), len(requests)), shelf or Published())


def end(database: sa.Engine, state: State, *requests: Request) -> None:
    """End the runs of these jobs, as a worker does."""
    ids = [one.id for one in requests]
    with database.begin() as connection:
        ended = sa.update(runs).where(runs.c.job.in_(ids), runs.c.latest)
        connection.execute(ended.values(state=state, ended=runs.c.created))


def counts(batch: Batch) -> dict[str, int]:
    """The counts that are not 0."""
    return {state.value: count for state, count in batch.jobs.items() if count}


class BatchContract:
    """Inherit it and give the fixture `settings`."""

    def test_every_file_becomes_a_job_behind_the_uploads(self, jobs: Jobs, settings: Settings) -> None:
        batch = submit(jobs, source("a"), source("a", kind=Kind.IMAGE), source("b"))
        upload, _ = jobs.submit(request(settings, "z"))
        assert (batch.asked, batch.cases, batch.files) == (ASKED, 2, 3)
        assert (counts(batch), batch.fraction, batch.submitted) == ({"queued": 3}, 0.0, True)
        assert upload.position == 1
        queued = [(job.case, job.kind, job.position) for job in jobs.list(batch=batch.id).jobs]
        assert queued == [("b", Kind.MASK, 4), ("a", Kind.IMAGE, 3), ("a", Kind.MASK, 2)]
        assert jobs.get(source("a").id).batch == batch.id

    def test_only_what_is_missing_is_submitted_again(self, jobs: Jobs, database: sa.Engine) -> None:
        done, gone, failed, running, changed = (source(case) for case in ("d", "g", "f", "r", "c"))
        first = submit(jobs, done, gone, failed, running, changed)
        end(database, State.DONE, done, gone, changed)
        end(database, State.FAILED, failed)
        shelf = Published({"d": 1, "c": 1})
        again = submit(jobs, done, gone, failed, running, source("c", "edited"), source("n"), shelf=shelf)
        assert (again.published, again.under_way, counts(again)) == (1, 1, {"queued": 4})
        waiting = {job.case: job for job in jobs.list(batch=again.id).jobs}
        assert {case: job.run for case, job in waiting.items()} == {"g": 2, "f": 2, "c": 1, "n": 1}
        assert counts(jobs.batches.get(first.id)) == {"done": 2, "queued": 1}
        assert waiting["c"].revision == 2

    def test_an_image_goes_with_its_mask_again(self, jobs: Jobs, database: sa.Engine) -> None:
        mask, image = source("a"), source("a", kind=Kind.IMAGE)
        submit(jobs, mask, image)
        end(database, State.DONE, mask, image)
        assert counts(submit(jobs, mask, image, shelf=Published({"a": 1}))) == {}
        assert counts(submit(jobs, mask, image)) == {"queued": 2}

    def test_what_a_newer_upload_published_is_not_taken_for_the_file(
        self, jobs: Jobs, settings: Settings, database: sa.Engine
    ) -> None:
        mine, upload = source("a"), request(settings, "a", replace=True)
        submit(jobs, mine)
        end(database, State.DONE, mine)
        jobs.submit(upload, published_revision=1)
        end(database, State.DONE, upload)
        again = submit(jobs, mine, shelf=Published({"a": 2}))
        assert (counts(again), jobs.get(mine.id).revision) == ({"queued": 1}, 3)

    def test_cases_of_other_origin_come_after_their_published_revision(self, jobs: Jobs) -> None:
        shelf = Published({"a": 7, "z": 1})
        submit(jobs, source("a"), source("b"), shelf=shelf)
        assert [jobs.get(source(case).id).revision for case in "ab"] == [8, 1]
        assert shelf.asked == ["a"]

    def test_a_file_in_the_way_of_another_mask_fails_unless_it_replaces(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        upload, _ = jobs.submit(request(settings, "a"))
        batch = submit(jobs, source("a"), source("b"))
        assert counts(batch) == {"queued": 1, "failed": 1}
        (failed,) = jobs.list(batch=batch.id, state=State.FAILED).jobs
        assert failed.problem is not None
        assert failed.problem.status == 409
        assert jobs.get(upload.id).state is State.QUEUED
        other = submit(jobs, source("a", replace=True))
        assert counts(other) == {"queued": 1}
        assert jobs.get(upload.id).state is State.CANCELLED
        assert not list(settings.spool.iterdir())

    def test_a_file_with_a_problem_fails_at_once_and_supersedes_nothing(self, jobs: Jobs) -> None:
        submit(jobs, source("a"))
        problem = BadFile("a.nii: no ordinary file").problem
        bad = BatchFile(request=source("a", "bad"), problem=problem)
        batch = jobs.batches.submit(ASKED, [[bad]], (1, 1), Published())
        (failed,) = jobs.list(batch=batch.id).jobs
        assert (failed.state, failed.problem, failed.revision) == (State.FAILED, problem, 0)
        assert jobs.get(source("a").id).state is State.QUEUED

    def test_cancelling_leaves_what_has_ended(self, jobs: Jobs, database: sa.Engine) -> None:
        batch, other = submit(jobs, source("a"), source("b"), source("c")), submit(jobs, source("x"))
        end(database, State.DONE, source("a"))
        assert counts(jobs.batches.cancel(batch.id)) == {"done": 1, "cancelled": 2}
        assert jobs.batches.get(batch.id).fraction == 1.0
        assert counts(jobs.batches.get(other.id)) == {"queued": 1}
        again = submit(jobs, source("b"))
        assert counts(again) == {"queued": 1}

    def test_cancelling_while_it_is_submitted_stops_that(self, jobs: Jobs) -> None:
        shelf = Interrupted(happens=lambda: jobs.batches.cancel(jobs.batches.list().batches[0].id))
        batch = submit(jobs, *MANY, shelf=shelf)
        assert (batch.submitted, shelf.looks) == (False, 2)
        assert counts(batch).keys() == {"cancelled"}
        assert not jobs.list(state=State.QUEUED).jobs
        assert counts(submit(jobs, *MANY)) == {"queued": len(MANY)}

    def test_deleting_its_dataset_while_it_is_submitted_stops_that(self, jobs: Jobs) -> None:
        shelf = Interrupted(happens=lambda: jobs.forget("knees"))
        with pytest.raises(Conflict, match="deleted while it was submitted"):
            submit(jobs, *MANY, shelf=shelf)
        assert not jobs.list().jobs
        assert not jobs.batches.list().batches

    def test_the_store_is_never_read_while_others_wait(self, jobs: Jobs, database: sa.Engine) -> None:
        done, changed, upload = source("d"), source("c", "edited"), source("u")
        submit(jobs, done, source("c"))
        end(database, State.DONE, done, source("c"))

        class Free(Published):
            def revision(self, case: str) -> int:
                with writing(database) as connection:
                    connection.execute(sa.text("SELECT 1"))
                return super().revision(case)

        shelf = Free({"d": 3, "c": 4, "u": 5})
        submit(jobs, done, changed, upload, source("n"), shelf=shelf)
        assert shelf.asked == ["c", "u"]
        assert [jobs.get(one.id).revision for one in (changed, upload)] == [5, 6]

    def test_again_after_a_cancel_asks_no_more_for_more_files(self, jobs: Jobs) -> None:
        def asked_for(files: range) -> int:
            some = [source(f"case{number}") for number in files]
            jobs.batches.cancel(submit(jobs, *some).id)
            with noted(sa.Engine) as asked:
                assert counts(submit(jobs, *some)) == {"queued": len(files)}
            return sum("dmapsvc_runs" in statement for statement, _ in asked)

        assert asked_for(range(2)) == asked_for(range(2, 42))

    def test_it_takes_the_place_of_uploads_that_ended(self, jobs: Jobs, settings: Settings) -> None:
        upload = request(settings, "a")
        jobs.cancel(jobs.submit(upload)[0].id)
        assert uploads(settings) == {upload.spool}
        submit(jobs, source("a"))
        assert uploads(settings) == set()

    def test_a_failed_job_is_run_again_in_its_batch(self, jobs: Jobs, database: sa.Engine) -> None:
        batch = submit(jobs, source("a"))
        end(database, State.FAILED, source("a"))
        again = jobs.retry(source("a").id)
        assert (again.state, again.run, again.batch) == (State.QUEUED, 2, batch.id)
        assert counts(jobs.batches.get(batch.id)) == {"queued": 1}

    def test_batches_and_uploads_have_a_limit_each(self, settings: Settings) -> None:
        tight = settings.model_copy(update={"max_batch": 3, "max_queue": 1})
        with Jobs(tight) as jobs:
            submit(jobs, source("a"), source("b"))
            jobs.submit(request(settings, "u"))
            with pytest.raises(Busy, match="2 files of batches are waiting"):
                submit(jobs, source("c"), source("d"), asked=OTHERS)
            with pytest.raises(TooLarge, match="a batch of 4 files"):
                submit(jobs, *(source(f"e{number}") for number in range(4)))
            with pytest.raises(Busy):
                jobs.submit(request(settings, "v"))
            assert len(jobs.batches.list().batches) == 1

    def test_a_batch_that_was_cut_short_is_completed_though_most_of_it_waits(
        self, settings: Settings
    ) -> None:
        def die() -> None:
            raise SystemExit

        with Jobs(settings.model_copy(update={"max_batch": 600})) as tight:
            with pytest.raises(SystemExit):
                submit(tight, *MANY, shelf=Interrupted(happens=die))
            (cut,) = tight.batches.list().batches
            assert (cut.submitted, counts(cut)) == (False, {"queued": 250})
            assert counts(submit(tight, *MANY)) == {"queued": 350}
            with pytest.raises(Busy, match="600 files of batches are waiting"):
                tight.batches.check_room(OTHERS, 1)

    def test_a_job_of_a_batch_is_run_again_by_the_limit_of_batches(
        self, settings: Settings, database: sa.Engine
    ) -> None:
        with Jobs(settings.model_copy(update={"max_batch": 2, "max_queue": 1})) as jobs:
            submit(jobs, source("a"))
            end(database, State.FAILED, source("a"))
            jobs.submit(request(settings, "u"))
            assert jobs.retry(source("a").id).state is State.QUEUED
            submit(jobs, source("b"), source("a"))
            end(database, State.FAILED, source("b"))
            end(database, State.FAILED, source("a"))
            submit(jobs, source("c"), source("d"))
            with pytest.raises(Busy, match="2 files of batches"):
                jobs.retry(source("a").id)

    def test_they_are_listed_newest_first_and_go_with_their_dataset(self, jobs: Jobs) -> None:
        ids = [submit(jobs, source(case)).id for case in "abc"]
        first = jobs.batches.list(limit=2)
        assert [batch.id for batch in first.batches] == [ids[2], ids[1]]
        second = jobs.batches.list(limit=2, cursor=first.next)
        assert ([batch.id for batch in second.batches], second.next) == ([ids[0]], None)
        assert counts(second.batches[0]) == {"queued": 1}
        jobs.forget("knees")
        assert not jobs.batches.list().batches
        with pytest.raises(NotFound, match="there is no such batch"):
            jobs.batches.get(ids[0])

    def test_it_is_forgotten_with_the_last_of_its_jobs(
        self, jobs: Jobs, database: sa.Engine, settings: Settings
    ) -> None:
        old, fresh = submit(jobs, source("a"), source("b")), submit(jobs, source("c"))
        end(database, State.DONE, source("a"), source("c"))
        with closing(Retention(database, settings.spool)) as retention:
            retention.forget_runs(time.time() + 1)
        assert counts(jobs.batches.get(old.id)) == {"queued": 1}
        assert [batch.id for batch in jobs.batches.list().batches] == [old.id]
        assert fresh.id != old.id

    def test_many_cases_are_taken_in_several_transactions(self, jobs: Jobs) -> None:
        batch = submit(jobs, *MANY)
        assert counts(batch) == {"queued": 600}
        assert jobs.get(source("case0599").id).position == 600

    @hypothesis_settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12")), max_size=4))
    def test_no_history_leaves_two_live_runs_of_a_case(
        self, jobs: Jobs, database: sa.Engine, history: list[dict[str, str]]
    ) -> None:
        """Whatever is submitted, done or not: a case has one live run, and a job one latest run."""
        jobs.forget("knees")
        for number, files in enumerate(history):
            submit(jobs, *(source(case, content, replace=True) for case, content in files.items()))
            if number % 2:
                end(database, State.DONE, *(source(case, content) for case, content in files.items()))
        with database.connect() as connection:
            rows = connection.execute(sa.select(runs)).all()
        live = [row.case_name for row in rows if row.state == State.QUEUED]
        latest = [row.job for row in rows if row.latest]
        assert len(live) == len(set(live))
        assert sorted(latest) == sorted({row.job for row in rows})
        assert all(row.latest for row in rows if row.batch)
