"""Jobs for a fleet whose processes are killed again and again: what was accepted is done, and done once."""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from dmapsvc.client import Client
from dmapsvc.errors import ServerProblem, ServerUnreachable
from dmapsvc.jobs import State
from dmapsvc.jobs.database import open_database
from dmapsvc.jobs.table import runs
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset, check
from tests.soak.fleet import Fleet, await_true, say

SPEC = MapSpec(labels=(1, 2))
SHAPE = (48, 96, 96)
MASKS = 8  # different files; each is many cases


@dataclass(frozen=True, kw_only=True)
class Trial:
    """`jobs` are uploaded in as many bursts as there are `kills`; `restart` the database in the middle."""

    apis: int
    workers: int
    jobs: int
    kills: int
    seed: int
    restart: Callable[[], None] | None = None


def survive(trial: Trial, settings: Settings) -> None:
    """Run the trial over the data folder and database of `settings`, and judge what became of it."""
    chance = random.Random(trial.seed)
    masks = write_masks(settings.data / "masks", trial.seed)
    ids: dict[str, str] = {}
    refused: Counter[str] = Counter()
    given = {"device": "numba", "threads": 1, "database_url": settings.database_url}
    with Fleet(settings.data, apis=trial.apis, workers=trial.workers, seed=trial.seed, **given) as fleet:
        interval = 2 * fleet.start_seconds
        say(f"a worker starts in {fleet.start_seconds:.1f} s, so that one is killed every {interval:.1f} s")
        clients = itertools.cycle([Client(url) for url in fleet.urls])
        began = time.monotonic()
        for burst in range(trial.kills):
            numbers = range(burst, trial.jobs, trial.kills)
            fatal = chance.choice(numbers)
            for number in numbers:
                case = f"case{number:04}"
                ids[case] = upload(clients, case, masks[number % MASKS], refused)
                if number == fatal:
                    fleet.kill_one()
                    due = time.monotonic() + interval
            if trial.restart is not None and burst == trial.kills // 2:
                trial.restart()
                say("the database was restarted")
            time.sleep(max(0.0, due - time.monotonic()))
        database = open_database(settings)
        await_true(lambda: not live(database))
        took = time.monotonic() - began
    judge(ids, settings, database)
    database.dispose()
    say(f"{len(ids)} jobs done once in {took:.0f} s, none failed")
    say(f"killed: {dict(fleet.killed)}; requests sent again: {dict(refused)}")


def write_masks(folder: Path, seed: int) -> list[Path]:
    """Some masks with two boxes each."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(seed)
    paths = [folder / f"{number}.npy" for number in range(MASKS)]
    for path in paths:
        labels = np.zeros(SHAPE, np.uint8)
        for value in (1, 2):
            begin = chance.integers(0, [side // 2 for side in SHAPE])
            labels[tuple(slice(start, start + 20) for start in begin)] = value
        np.save(path, labels)
    return paths


def upload(clients: itertools.cycle[Client], case: str, mask: Path, refused: Counter[str]) -> str:
    """Send a mask until an API accepts it; its job."""
    for client in clients:
        try:
            return client.put_mask("knees", case, mask, spec=SPEC).id
        except ServerUnreachable:
            refused["no answer"] += 1
        except ServerProblem as error:
            if error.problem.status != 503:
                raise
            refused["503"] += 1
        time.sleep(0.1)
    raise AssertionError


def live(database: sa.Engine) -> int:
    """How many runs have not ended; asked until the database answers."""
    query = sa.select(sa.func.count()).where(runs.c.state.in_([State.QUEUED, State.RUNNING]))
    while True:
        with contextlib.suppress(sa.exc.OperationalError), database.connect() as connection:
            return int(connection.execute(query).scalar_one())
        time.sleep(0.5)


def judge(ids: dict[str, str], settings: Settings, database: sa.Engine) -> None:
    """Assert that every job ended done, in one run, and that the store holds just what they made."""
    with database.connect() as connection:
        rows = connection.execute(sa.select(runs)).all()
    states = Counter(row.state for row in rows)
    assert states == {State.DONE: len(ids)}, [row for row in rows if row.state != State.DONE]
    assert {row.case_name: row.job for row in rows} == ids
    assert {(row.n, row.revision, row.latest) for row in rows} == {(1, 1, True)}
    dataset = Dataset.open(settings.data / "store" / "knees.zarr", staging=settings.staging / "knees")
    assert {case: dataset.case(case).record.id for case in dataset.cases()} == ids
    assert {dataset.case(case).record.revision for case in ids} == {1}
    assert list(check(dataset)) == []
    assert [path.name for path in settings.spool.iterdir() if not path.suffix] == []
    attempts = Counter(row.attempts for row in rows)
    say(f"attempts: {dict(sorted(attempts.items()))}; deaths counted: {sum(row.deaths for row in rows)}")
