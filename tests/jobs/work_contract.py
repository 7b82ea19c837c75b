"""What every database must give a worker and those who ask about its jobs: real processes, fake work."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from dbos import DBOSClient

from dmapsvc.errors import BadLabels, Conflict, DeviceLost, NotFound
from dmapsvc.jobs import Job, Kind, State
from dmapsvc.jobs.database import APPLICATION, SERIALIZER, open_database
from dmapsvc.jobs.engine import Jobs
from dmapsvc.jobs.table import runs
from dmapsvc.settings import Settings
from tests.jobs.asking import insert_batch, request, uploads
from tests.jobs.processes import PATIENCE, Worker, eventually, lines, release, worker


def ended(jobs: Jobs, job: Job) -> Job:
    return jobs.wait(job.id, PATIENCE)


def under_way(jobs: Jobs, *these: Job) -> None:
    """Wait until the work of each has begun, all at the same time."""
    eventually(lambda: all(jobs.get(job.id).stage is not None for job in these))


class WorkContract:
    """One worker, which lives as long as the class. Inherit it and give a class-wide fixture `settings`."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def running(cls, settings: Settings) -> Iterator[Worker]:
        with worker(settings) as running:
            yield running

    @pytest.fixture(autouse=True)
    def forget(self, jobs: Jobs) -> Iterator[None]:
        yield
        jobs.forget("knees")

    def test_a_job_is_done(self, jobs: Jobs, settings: Settings) -> None:
        submitted, _ = jobs.submit(request(settings, "plain", behaviour="done"))
        job = ended(jobs, submitted)
        assert (job.state, job.percent, job.position, job.attempts) == (State.DONE, 100.0, None, 1)
        assert (job.notes, job.seconds, job.backend) == (("a note",), {"map": 0.5}, "fake")
        assert job.created is not None
        assert job.started is not None
        assert job.ended is not None
        assert job.created <= job.started <= job.ended
        assert lines(settings, "plain.published") == ["1"]
        eventually(lambda: not uploads(settings))
        with pytest.raises(Conflict):
            jobs.retry(job.id)

    def test_progress_is_told_while_it_runs(self, jobs: Jobs, settings: Settings) -> None:
        job, _ = jobs.submit(request(settings, "slow", behaviour="held"))
        under_way(jobs, job)
        now = jobs.get(job.id)
        assert (now.state, now.stage, now.percent, now.position) == (State.RUNNING, "map", 25.0, None)
        release(settings, "slow")
        assert ended(jobs, job).state is State.DONE

    def test_what_no_retry_can_mend_fails_at_once_with_the_same_problem(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        submitted, _ = jobs.submit(request(settings, "bad", behaviour="refused"))
        job = ended(jobs, submitted)
        expected = BadLabels("voxel (1, 2, 3) is 1.5", "a label map holds whole numbers", "Round it").problem
        assert (job.state, job.attempts, job.problem) == (State.FAILED, 1, expected)
        eventually(lambda: not uploads(settings))
        with pytest.raises(Conflict, match="upload is gone"):
            jobs.retry(job.id)
        again, created = jobs.submit(request(settings, "bad", behaviour="done"))
        assert created
        assert again.run == 2
        assert ended(jobs, again).state is State.DONE

    def test_what_a_retry_may_mend_is_tried_again(self, jobs: Jobs, settings: Settings) -> None:
        submitted, _ = jobs.submit(request(settings, "once", behaviour="once"))
        job = ended(jobs, submitted)
        assert (job.state, job.attempts, job.problem) == (State.DONE, 2, None)

    def test_attempts_end_without_telling_internals_and_keep_the_upload(
        self, jobs: Jobs, settings: Settings, running: Worker
    ) -> None:
        asked = request(settings, "broken", behaviour="broken")
        submitted, _ = jobs.submit(asked)
        job = ended(jobs, submitted)
        assert (job.state, job.attempts) == (State.FAILED, settings.attempts)
        assert job.problem is not None
        assert (job.problem.type, job.problem.status) == ("/problems/internal-error", 500)
        assert "secret" not in f"{job.problem}"
        assert "the secret is in" in running.log.read_text()
        assert uploads(settings) == {asked.spool}
        again = jobs.retry(job.id)
        assert (again.run, again.attempts, again.problem) == (2, 0, None)
        assert ended(jobs, again).state is State.FAILED

    def test_a_newer_mask_takes_the_place_of_a_failed_ones_upload(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        failed, _ = jobs.submit(request(settings, "broken", mask="other", behaviour="broken"))
        ended(jobs, failed)
        newer, _ = jobs.submit(request(settings, "broken", mask="newer"))
        assert ended(jobs, newer).state is State.DONE
        eventually(lambda: not uploads(settings))

    def test_a_running_job_is_cancelled_and_publishes_nothing(self, jobs: Jobs, settings: Settings) -> None:
        asked = request(settings, "cancelled", behaviour="held")
        job, _ = jobs.submit(asked)
        under_way(jobs, job)
        jobs.cancel(job.id)
        now = ended(jobs, job)
        assert (now.state, now.problem) == (State.CANCELLED, None)
        assert not lines(settings, "cancelled.published")
        assert uploads(settings) == {asked.spool}
        release(settings, "cancelled")
        jobs.retry(job.id)
        assert ended(jobs, job).state is State.DONE
        eventually(lambda: not uploads(settings))

    def test_a_replaced_job_never_wins(self, jobs: Jobs, settings: Settings) -> None:
        old, _ = jobs.submit(request(settings, "replaced", mask="first", behaviour="held"))
        under_way(jobs, old)
        new, _ = jobs.submit(request(settings, "replaced", mask="second", replace=True))
        assert ended(jobs, new).state is State.DONE
        release(settings, "replaced")
        assert ended(jobs, old).state is State.CANCELLED
        assert lines(settings, "replaced.published") == [str(new.revision)]
        eventually(lambda: not uploads(settings))
        with pytest.raises(Conflict, match="upload is gone"):
            jobs.retry(old.id)

    def test_a_newer_mask_takes_the_upload_of_one_that_is_being_cancelled(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        old, _ = jobs.submit(request(settings, "stopped", mask="first", behaviour="held"))
        under_way(jobs, old)
        jobs.cancel(old.id)
        new, _ = jobs.submit(request(settings, "stopped", mask="second"))
        assert ended(jobs, new).state is State.DONE
        assert ended(jobs, old).state is State.CANCELLED
        eventually(lambda: not uploads(settings))

    def test_a_forgotten_job_stops_and_the_same_runs_anew(self, jobs: Jobs, settings: Settings) -> None:
        job, _ = jobs.submit(request(settings, "forgotten", behaviour="held"))
        under_way(jobs, job)
        jobs.forget("knees", "forgotten")
        with pytest.raises(NotFound):
            jobs.get(job.id)
        again, created = jobs.submit(request(settings, "forgotten", behaviour="done"))
        assert created
        assert ended(jobs, again).state is State.DONE
        assert lines(settings, "forgotten.published") == ["1"]

    def test_an_image_job_runs_too(self, jobs: Jobs, settings: Settings) -> None:
        job, _ = jobs.submit(request(settings, "image", kind=Kind.IMAGE))
        assert (ended(jobs, job).state, job.kind) == (State.DONE, Kind.IMAGE)

    def test_a_job_of_a_deleted_dataset_fails(self, jobs: Jobs, settings: Settings) -> None:
        job, _ = jobs.submit(request(settings, "deleted", behaviour="deleted"))
        problem = ended(jobs, job).problem
        assert problem is not None
        assert problem.status == 404

    def test_jobs_that_do_not_fit_together_never_overlap(self, jobs: Jobs, settings: Settings) -> None:
        assert settings.memory_budget is not None
        more_than_half = settings.memory_budget // 2 + 1
        submitted = [
            jobs.submit(request(settings, case, behaviour="held", size=more_than_half))[0]
            for case in ("big1", "big2")
        ]
        first = eventually(lambda: [job for job in submitted if lines(settings, f"{job.case}.begun")])
        small, _ = jobs.submit(request(settings, "small", size=1))
        assert len(first) == 1
        release(settings, "big1", "big2")
        assert {ended(jobs, job).state for job in (*submitted, small)} == {State.DONE}
        together = [lines(settings, f"{case}.begun")[0].split() for case in ("big1", "big2")]
        assert together == [["big1"], ["big2"]]

    def test_jobs_that_fit_run_side_by_side(self, jobs: Jobs, settings: Settings) -> None:
        submitted = [jobs.submit(request(settings, case, behaviour="held"))[0] for case in ("left", "right")]
        under_way(jobs, *submitted)
        release(settings, "left", "right")
        assert {ended(jobs, job).state for job in submitted} == {State.DONE}

    def test_a_file_that_is_away_for_a_while_is_waited_for(self, jobs: Jobs, settings: Settings) -> None:
        job, _ = jobs.submit(request(settings, "soon", behaviour="away-once"))
        assert ended(jobs, job).state is State.DONE

    def test_a_file_that_stays_away_can_be_tried_again(self, jobs: Jobs, settings: Settings) -> None:
        submitted, _ = jobs.submit(request(settings, "never", behaviour="away"))
        job = ended(jobs, submitted)
        assert (job.state, len(lines(settings, "never.away"))) == (State.FAILED, settings.attempts)
        assert job.problem is not None
        assert job.problem.status == 503
        assert ended(jobs, jobs.retry(job.id)).run == 2

    def test_a_job_over_the_whole_budget_fails_and_keeps_its_upload_for_a_larger_worker(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        assert settings.memory_budget is not None
        job, _ = jobs.submit(request(settings, "huge", size=settings.memory_budget + 1))
        now = ended(jobs, job)
        assert (now.state, now.attempts) == (State.FAILED, 0)
        assert now.problem is not None
        assert now.problem.status == 413
        assert len(uploads(settings)) == 1
        assert ended(jobs, jobs.retry(job.id)).run == 2


class DeathContract:
    """Workers, runs and databases that fail. Inherit it and give the fixture `settings`."""

    def test_a_database_that_refuses_each_question_once_costs_no_job(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        (settings.data / "seen").mkdir()
        (settings.data / "seen" / "hiccups").touch()
        with worker(settings):
            job, _ = jobs.submit(request(settings))
            now = ended(jobs, job)
        assert (now.state, now.run, now.attempts) == (State.DONE, 1, 1)
        refused = " ".join(lines(settings, "hiccups"))
        assert "SELECT dmapsvc_runs" in refused  # find
        assert "attempts=" in refused  # begin
        assert "count(*)" in refused  # wanted
        assert "outcome=" in refused  # done

    def test_a_run_that_cannot_even_be_read_fails_and_does_not_wait_for_ever(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        asked = request(settings)
        job, _ = jobs.submit(asked)
        database = open_database(settings)
        with database.begin() as connection:
            connection.execute(
                sa.update(runs).values(request={**asked.to_json(), "kind": "of a later version"})
            )
        database.dispose()
        with worker(settings):
            now = ended(jobs, job)
        assert now.state is State.FAILED
        assert now.problem is not None
        assert now.problem.type == "/problems/internal-error"

    @pytest.mark.parametrize("lose", [DBOSClient.cancel_workflow, DBOSClient.delete_workflow])
    def test_a_run_that_the_engine_has_lost_is_run(
        self, jobs: Jobs, settings: Settings, lose: Callable[[DBOSClient, str], None]
    ) -> None:
        """The row rules: it says queued."""
        asked = request(settings)
        job, _ = jobs.submit(asked)
        database = open_database(settings)
        client = DBOSClient(
            system_database_engine=database, serializer=SERIALIZER, application_name=APPLICATION
        )
        lose(client, f"{job.id}.1")
        client.destroy()
        database.dispose()
        with worker(settings):
            now = ended(jobs, job)
        assert (now.state, now.attempts) == (State.DONE, 1)
        assert lines(settings, "a.published") == ["1"]

    def test_cases_of_a_batch_are_done_in_line_and_uploads_go_before_them(
        self, jobs: Jobs, settings: Settings, database: sa.Engine
    ) -> None:
        one_by_one = settings.model_copy(update={"concurrency": 1})
        first = request(settings, "case00", behaviour="held")
        waiting = [first, *(request(settings, f"case{number:02}") for number in range(1, 70))]
        insert_batch(database, waiting)
        jobs.cancel(waiting[1].id)
        with worker(one_by_one):
            eventually(lambda: lines(settings, "case00.begun"))
            upload, _ = jobs.submit(request(settings, "upload"))
            assert upload.position == 1
            release(settings, "case00")
            ends = [ended(jobs, jobs.get(asked.id)) for asked in waiting]
        assert [job.state for job in ends].count(State.DONE) == 69
        assert ends[1].state is State.CANCELLED
        done = [ends[0], jobs.get(upload.id), *ends[2:]]
        starts = [job.started.timestamp() for job in done if job.started is not None]
        assert starts == sorted(starts)
        assert len(starts) == 70

    def test_a_killed_workers_job_is_done_by_the_next(self, jobs: Jobs, settings: Settings) -> None:
        with worker(settings) as first:
            job, _ = jobs.submit(request(settings, behaviour="held"))
            under_way(jobs, job)
            first.kill()
        with worker(settings):
            eventually(lambda: len(lines(settings, "a.begun")) == 2)
            release(settings, "a")
            now = ended(jobs, job)
        assert (now.state, now.run, now.attempts) == (State.DONE, 1, 2)
        assert lines(settings, "a.published") == ["1"]

    def test_a_peer_takes_over_while_it_works(self, jobs: Jobs, settings: Settings) -> None:
        with worker(settings) as first:
            job, _ = jobs.submit(request(settings, behaviour="held"))
            under_way(jobs, job)
            with worker(settings) as second:
                eventually(lambda: second.log.read_text() and (settings.data / "seen" / "ready").exists())
                first.kill()
                eventually(lambda: len(lines(settings, "a.begun")) == 2)
                release(settings, "a")
                assert ended(jobs, job).state is State.DONE

    def test_a_worker_that_is_stopped_hands_back_without_blame(self, jobs: Jobs, settings: Settings) -> None:
        with worker(settings) as first:
            job, _ = jobs.submit(request(settings, behaviour="held"))
            under_way(jobs, job)
            assert first.stop() == 0
        assert (jobs.get(job.id).state, jobs.get(job.id).position) == (State.QUEUED, 1)
        other, _ = jobs.submit(request(settings, "b", behaviour="held"))
        with worker(settings):  # not alone: it did not take its worker down
            under_way(jobs, job, other)
            release(settings, "a", "b")
            assert {ended(jobs, each).state for each in (job, other)} == {State.DONE}

    def test_a_poisoned_job_fails_and_its_neighbours_are_done(self, jobs: Jobs, settings: Settings) -> None:
        with worker(settings) as running:
            neighbour, _ = jobs.submit(request(settings, "neighbour", behaviour="held"))
            under_way(jobs, neighbour)
            poison, _ = jobs.submit(request(settings, "poison", behaviour="poison"))
            later, _ = jobs.submit(request(settings, "later"))
            running.process.wait(PATIENCE)
            release(settings, "neighbour")
            running.restart_whenever_dead(lambda: not jobs.list(state=State.QUEUED).jobs)
            running.restart_whenever_dead(lambda: not jobs.get(poison.id).state.live)
            assert {ended(jobs, job).state for job in (neighbour, later)} == {State.DONE}
        now = jobs.get(poison.id)
        assert now.state is State.FAILED
        assert now.problem is not None
        assert now.problem.type == "/problems/worker-died"
        assert now.attempts == 1 + settings.attempts  # the first death was not while it was alone
        begun = lines(settings, "poison.begun")
        assert begun[1:] == ["poison"] * settings.attempts
        assert not uploads(settings)

    def test_a_lost_device_ends_the_worker_and_the_next_does_the_job(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        with worker(settings) as running:
            neighbour, _ = jobs.submit(request(settings, "neighbour", behaviour="held"))
            under_way(jobs, neighbour)
            lost, _ = jobs.submit(request(settings, "lost", behaviour="lost-once"))
            assert running.process.wait(PATIENCE) == 3
            assert {jobs.get(job.id).state for job in (neighbour, lost)} == {State.QUEUED}
            release(settings, "neighbour")
            running.restart_whenever_dead(lambda: not jobs.list(state=State.QUEUED).jobs)
            assert {ended(jobs, job).state for job in (neighbour, lost)} == {State.DONE}
        assert {jobs.get(job.id).attempts for job in (neighbour, lost)} == {2}
        assert lines(settings, "lost.begun")[1:] == ["lost"]  # alone

    def test_a_job_that_loses_every_device_fails_with_that_reason(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        with worker(settings) as running:
            lost, _ = jobs.submit(request(settings, "lost", behaviour="lost"))
            later, _ = jobs.submit(request(settings, "later"))
            running.restart_whenever_dead(lambda: not jobs.get(lost.id).state.live)
            running.restart_whenever_dead(lambda: not jobs.get(later.id).state.live)
            assert ended(jobs, later).state is State.DONE
        now = jobs.get(lost.id)
        assert now.state is State.FAILED
        assert now.problem == DeviceLost("the GPU's context broke: error 700").problem
        assert now.attempts == 1 + settings.attempts  # the first loss was not while it was alone
        assert jobs.retry(lost.id).state is State.QUEUED

    def test_a_job_that_stalls_ends_its_worker_and_then_fails_while_its_neighbour_is_done(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        impatient = settings.model_copy(update={"stall_seconds": 3.0, "attempts": 1})
        with worker(impatient) as running:
            neighbour, _ = jobs.submit(request(settings, "neighbour", behaviour="held"))
            stalled, _ = jobs.submit(request(settings, "stalled", behaviour="stalled"))
            assert running.process.wait(PATIENCE) == 3
            assert {jobs.get(job.id).state for job in (neighbour, stalled)} == {State.QUEUED}
            release(settings, "neighbour")
            running.restart_whenever_dead(lambda: not jobs.get(stalled.id).state.live)
            running.restart_whenever_dead(lambda: not jobs.get(neighbour.id).state.live)
        assert jobs.get(neighbour.id).state is State.DONE
        now = jobs.get(stalled.id)
        assert (now.state, now.attempts) == (State.FAILED, 2)  # the first time it was not alone
        assert now.problem is not None
        assert now.problem.type == "/problems/stalled"
        assert "no progress for 3 s" in now.problem.detail
        assert lines(settings, "stalled.begun")[1:] == ["stalled"]
        assert jobs.retry(stalled.id).state is State.QUEUED

    def test_a_job_cancelled_while_its_worker_was_dead_stays_cancelled(
        self, jobs: Jobs, settings: Settings
    ) -> None:
        with worker(settings) as first:
            job, _ = jobs.submit(request(settings, behaviour="held"))
            under_way(jobs, job)
            first.kill()
        jobs.cancel(job.id)
        with worker(settings):
            assert ended(jobs, job).state is State.CANCELLED
            assert len(lines(settings, "a.begun")) == 1
            release(settings, "a")
            jobs.retry(job.id)
            assert ended(jobs, job).state is State.DONE
