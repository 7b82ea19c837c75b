"""A server that goes away while training: for a while, and for good."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from demo.service import Service
from dmapsvc.errors import Problem, ServerProblem, ServerUnreachable
from dmapsvc.loader.patchloader import PatchLoader
from dmapsvc.loader.remote import patience as patience_module
from dmapsvc.loader.remote.cachefolder import CacheFolder
from dmapsvc.loader.remote.mirror import Mirror
from dmapsvc.loader.remote.patience import Patience, Stopped
from tests.loader.origin_server import OriginServer

LOGGER = "dmapsvc.loader.remote.patience"


@pytest.fixture
def service(tmp_path: Path, make_dataset: Callable[..., Path], two_bones: Any) -> Iterator[Service]:
    """The real API over three cases of a dataset `knees`."""
    store = tmp_path / "data" / "store"
    store.mkdir(parents=True)
    made = make_dataset({case: two_bones((24, 24, 24), 1) for case in "abc"}, name="knees")
    made.rename(store / "knees.zarr")
    with Service(tmp_path / "data", parts=("api",)) as service:
        yield service


def test_a_server_killed_and_started_again_is_waited_for(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = Mirror(f"{service.url}/v1/datasets/knees")
    mirror.folder("a")
    service.kill9("api")
    fetched: list[Path] = []
    with caplog.at_level(logging.WARNING, LOGGER):
        waiting = [
            threading.Thread(target=lambda case=case: fetched.append(mirror.folder(case)), daemon=True)
            for case in "bc"
        ]
        for thread in waiting:
            thread.start()
        waiting[0].join(1.5)
        assert not fetched
        assert mirror.folder("a").is_dir()  # what is here is used meanwhile
        service.start("api")
        for thread in waiting:
            thread.join(30)
    assert len(fetched) == 2
    away, back = (record.getMessage() for record in caplog.records if record.name == LOGGER)
    assert "no server answers there; trying again for 600 s" in away
    assert "is back after" in back
    mirror.close()


def test_patches_come_before_the_whole_dataset_is_there_and_a_break_does_not_end_them(
    tmp_path: Path, make_dataset: Callable[..., Path], two_bones: Any
) -> None:
    folder = make_dataset({f"c{n}": two_bones((24, 24, 24), n) for n in range(6)}, name="many")
    go_on, noting = threading.Event(), threading.Lock()
    begun: list[str] = []

    def hold_all_but_two(key: str) -> None:
        case = key.partition("/")[0]
        with noting:
            if "/c/" in key and case not in begun:
                begun.append(case)
        if "/c/" in key and case not in begun[:2]:
            go_on.wait(20)

    with OriginServer(folder.parent) as server:
        mirror = Mirror(server.url("many"), patience=20)
        loader = PatchLoader(mirror, patch=(16, 16, 16), batch=2, threads=1, ahead=1)
        server.before = hold_all_but_two
        batches = iter(loader)
        first = next(batches)
        assert set(first["case"]) == set(begun[:2])
        server.gone = True
        go_on.set()
        threading.Timer(0.5, setattr, (server, "gone", False)).start()
        later = {case for batch in islice(batches, 3) for case in batch["case"]}
        assert len(later - set(first["case"])) == 4
        loader.close()
        mirror.close()


def test_a_cache_smaller_than_the_dataset_gives_the_same_patches(
    make_dataset: Callable[..., Path], two_bones: Any, own_cache: Path
) -> None:
    folder = make_dataset({f"c{n}": two_bones((24, 24, 24), n) for n in range(5)}, name="many")
    size = sum(file.stat().st_size for file in (folder / "c0").rglob("*") if file.is_file())
    with OriginServer(folder.parent) as server:
        mirror = Mirror(server.url("many"), cache=CacheFolder(own_cache, 2 * size))
        here, there = (
            PatchLoader(place, patch=(16, 16, 16), batch=2, threads=2, batches_per_epoch=15)
            for place in (folder, mirror)
        )
        for one, other in zip(here, there, strict=True):
            assert one["case"] == other["case"]
            for key in ("image", "label", "phi", "maxima", "means", "corner"):
                assert torch.equal(one[key], other[key])
        fetched = sum(server.asked[f"/zarr/many.zarr/c{n}/phi/0/c/0/0/0"] for n in range(5))
        there.close()
        mirror.close()
    assert fetched > 5


def test_a_server_that_stays_away_ends_in_one_line(knees: Path) -> None:
    with OriginServer(knees.parent) as server:
        mirror = Mirror(server.url("knees"), patience=0.6)
        server.gone = True
        with pytest.raises(
            ServerUnreachable, match=r"knees: away for [1-9]+ s; .*: 502 with text/html"
        ) as info:
            mirror.folder("a")
    assert "last checkpoint" in info.value.remedy
    assert "\n" not in info.value.detail


def test_a_server_that_was_never_there_is_told_at_once() -> None:
    with pytest.raises(ServerUnreachable, match="no server answers there"):
        Mirror("http://127.0.0.1:9/v1/datasets/knees")


def _problem(status: int) -> ServerProblem:
    return ServerProblem(Problem(type="/problems/x", title="", status=status, detail="it says so"))


@pytest.mark.parametrize(
    ("error", "tries"), [(_problem(503), 3), (_problem(500), 3), (_problem(429), 3), (_problem(404), 1)]
)
def test_only_what_may_be_another_answer_later_is_asked_again(error: ServerProblem, tries: int) -> None:
    asked: list[int] = []

    def answer() -> str:
        asked.append(1)
        if len(asked) < 3:
            raise error
        return "yes"

    patience = Patience("the server", 30)
    if tries == 1:
        with pytest.raises(ServerProblem, match="it says so"):
            patience.insist(answer)
    else:
        assert patience.insist(answer) == "yes"
    assert len(asked) == tries


def test_every_success_starts_the_time_anew_and_a_hiccup_is_not_worth_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(patience_module, "_FIRST_PAUSE", 0.001)
    patience = Patience("the server", 0.5)
    for _ in range(3):
        answers = iter([ServerUnreachable("away"), None])

        def answer(answers: Iterator[Exception | None] = answers) -> None:
            error = next(answers)
            if error is not None:
                raise error

        patience.insist(answer)
    assert not caplog.records


def test_a_file_that_never_comes_ends_it_even_if_others_do() -> None:
    patience = Patience("the server", 0.5)

    def answer() -> None:
        patience.note_success()  # another thread's
        raise ServerUnreachable("this file: 502")

    with pytest.raises(ServerUnreachable, match="this file: 502"):
        patience.insist(answer)


def test_a_file_that_comes_bit_by_bit_is_waited_for_as_long_as_it_takes() -> None:
    patience, came = Patience("the server", 0.5), 0

    def answer() -> int:
        nonlocal came
        came += 1
        if came < 5:
            raise ServerUnreachable("the connection broke off")
        return came

    assert patience.insist(answer, lambda: came) == 5


def test_who_stops_waits_no_longer() -> None:
    patience = Patience("the server", 600)

    def answer() -> None:
        raise ServerUnreachable("away")

    threading.Timer(0.1, patience.stop).start()
    with pytest.raises(Stopped):
        patience.insist(answer)


def test_a_mirror_that_nobody_has_any_more_ends_its_threads(knees: Path) -> None:
    with OriginServer(knees.parent) as server:
        mirror = Mirror(server.url("knees"))
        server.gone = True
        mirror.prefetch(mirror.cases())
        fetching = [thread for thread in threading.enumerate() if thread.name.startswith("dmapsvc-fetch")]
        assert fetching
        del mirror
        gc.collect()
        for thread in fetching:
            thread.join(10)
            assert not thread.is_alive()


def test_an_interpreter_that_ends_does_not_wait_for_a_server(knees: Path) -> None:
    with OriginServer(knees.parent) as server:
        code = (
            "import sys, time\n"
            "from dmapsvc.loader.remote.mirror import Mirror\n"
            f"mirror = Mirror({server.url('knees')!r}); print('open', flush=True); sys.stdin.readline()\n"
            "mirror.prefetch(mirror.cases()); time.sleep(0.5)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        server.gone = True
        _, said = process.communicate("go\n", timeout=20)
        assert process.returncode == 0
        assert "Traceback" not in said
