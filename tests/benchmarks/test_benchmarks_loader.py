"""The loaders that are measured: they deliver the same, and what is told of them is what was measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import loader, loader_checked, loader_lineup, loader_pages, loader_remote
from benchmarks.loader_checked import Agreement
from benchmarks.loader_feed import Delivered, Feed
from benchmarks.loader_formats import write_formats
from benchmarks.loader_lineup import NNUNET, OURS, all_ways, chosen
from benchmarks.loader_measured import Standing
from benchmarks.loader_memory import Memory
from benchmarks.loader_race import Plan, Run, Way, measure
from benchmarks.loader_remote import measure_remote
from benchmarks.loader_standings import ratios
from benchmarks.loader_volumes import generated, write_volume
from dmapsvc.errors import BadInput
from dmapsvc.spec import MapSpec

SHAPE, PATCH = (20, 40, 44), (12, 16, 20)


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Feed:
    """Two small knees, in no format yet but the plain one."""
    folder = tmp_path_factory.mktemp("loader")
    spec = MapSpec(labels=(3, 1))
    volumes = [write_volume(case, spec, folder / "volumes") for case in generated(folder / "files", 2, SHAPE)]
    return Feed(folder=folder, volumes=tuple(volumes), patch=PATCH, workers=0, placed=True)


def written(way: Way, feed: Feed) -> Feed:
    """The feed of `way`, its format written."""
    write_formats([way.format], feed.volumes, feed.patch, feed.folder, lambda done, steps, note: None)
    return replace(feed, folder=feed.folder / way.format)


def way_called(name: str) -> Way:
    return next(way for way in all_ways() if way.name == name)


def broken_batches(feed: Feed) -> Generator[Delivered]:
    raise ValueError("the disk is on fire")
    yield


def steady_batches(feed: Feed) -> Generator[Delivered]:
    tensor = torch.zeros((feed.batch, *feed.patch))
    while True:
        yield Delivered(image=tensor, label=tensor.short(), phi=tensor, places=list)


def way_of(batches: Any) -> Way:
    return Way(name="mine", format="volumes", batches=batches, modules=("torch",), checksums="none")


def test_a_volume_is_its_own_reference(feed: Feed) -> None:
    volume = feed.volumes[0]
    image, label, phi = volume.patch((1, 2, 3), PATCH)
    assert [part.dtype.name for part in (image, label, phi)] == ["float32", "int16", "float32"]
    assert image.shape == label.shape == phi.shape == PATCH
    whole = volume.normalised(volume.open("image"))
    assert (float(whole.mean()), float(whole.std())) == pytest.approx((0, 1), abs=1e-4)
    assert set(np.unique(volume.open("label"))) <= {0, 1, 2}  # class 1 is label 3, class 2 is label 1


@pytest.mark.parametrize(
    ("name", "rounding"),
    [
        (loader_lineup.OURS, 0.01),
        (loader_lineup.ZARR, 0.01),
        (loader_lineup.NPY, 0.0),
        (loader_lineup.CACHED, 0.0),
        (loader_lineup.PERSISTENT, 0.0),
        (loader_lineup.TORCHIO, 0.0),
    ],
)
def test_every_loader_delivers_the_reference(feed: Feed, name: str, rounding: float) -> None:
    way = way_called(name)
    found = loader_checked.compare(way, replace(written(way, feed), workers=int(name == OURS)), places=True)
    assert found is not None
    assert found.patches == loader_checked.PATCHES
    found.check(name, rounding)


def test_other_values_are_refused() -> None:
    for wrong in ({"image": 0.01}, {"label": 1}, {"phi": 0.02}):
        found = replace(Agreement(patches=8, image=0.0, label=0, phi=0.0), **wrong)
        with pytest.raises(RuntimeError, match="mine does not deliver the same patches"):
            found.check("mine", 0.01)


def test_a_loader_in_a_process_of_its_own(feed: Feed) -> None:
    run = measure(way_of(steady_batches), feed, Plan(seconds=0.1, skipped=1, watched=0.3))
    assert run.seconds >= 0.1
    assert run.patches % feed.batch == 0
    assert run.rate == pytest.approx(run.patches / run.seconds)
    assert run.peak.own > 10_000_000  # torch alone
    assert run.ready_seconds > run.first_seconds > 0


def test_the_first_patches_count_from_the_start(feed: Feed) -> None:
    run = measure(way_of(steady_batches), feed, Plan(seconds=5, first=6))
    assert run.patches == 6
    assert run.seconds >= run.first_seconds


def test_a_loader_that_fails_is_told_with_its_last_words(feed: Feed) -> None:
    with pytest.raises(RuntimeError, match=r"mine failed: (?s:.*)the disk is on fire"):
        measure(way_of(broken_batches), feed, Plan(seconds=0.1))


def test_files_that_were_read_lie_in_the_page_cache(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(bytes(1_000_000))
    (tmp_path / "empty").touch()
    assert 0 <= loader_pages.drop(tmp_path) <= 1  # a file system in memory has nowhere to drop it to
    loader_pages.warm(tmp_path)
    assert loader_pages.resident(tmp_path) == 1


def test_contenders_are_chosen_by_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_lineup, "find_spec", lambda name: object())
    assert [way.name for way in chosen("dmapsvc,*3-D*")] == [OURS, loader_lineup.NNUNET_GRID]
    assert [way.name for way in chosen(None)] == [way.name for way in all_ways()]
    with pytest.raises(BadInput, match="no contender is called 'nnunet'"):
        chosen("dmapsvc, nnunet")


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_lineup, "find_spec", lambda name: None if name == "nnunetv2" else object())
    with pytest.raises(BadInput, match=r"nnunetv2 cannot be imported.*bench-loader"):
        chosen(None)


def test_the_promised_ratios() -> None:
    def standing(name: str, patches: int, cpu_seconds: float, disk_bytes: int) -> Standing:
        run = Run(
            ready_seconds=1,
            first_seconds=1,
            patches=patches,
            seconds=1,
            cpu_seconds=cpu_seconds,
            peak=Memory(),
        )
        slower = replace(run, patches=1)
        return Standing(
            way=way_called(name),
            warm=[slower, run],
            cold=slower,
            resident=0.0,
            disk_bytes=disk_bytes,
            agreement=None,
        )

    told = {
        ratio.name: (ratio.value, ratio.holds)
        for ratio in ratios([standing(NNUNET, 100, 2.0, 100), standing(OURS, 300, 1.8, 60)], None)
    }
    assert told == {
        "patches/s, dmapsvc / nnU-Net": (3.0, False),
        "CPU ms a patch, dmapsvc / nnU-Net": (pytest.approx(0.3), True),
        "bytes a volume, dmapsvc / nnU-Net": (0.6, True),
    }


def test_the_remote_way(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases of the first batch are fetched over HTTP, as plain files and by the loader."""

    def measured(way: Way, feed: Feed, plan: Plan) -> Run:
        batches = way.batches(feed)
        places = next(batches).places()
        batches.close()
        seen.append((way.name, {case for case, _ in places}))
        return Run(ready_seconds=0, first_seconds=1, patches=1, seconds=1, cpu_seconds=1, peak=Memory())

    seen: list[tuple[str, set[str]]] = []
    monkeypatch.setattr(loader_remote, "measure", measured)
    way = way_called(OURS)
    remote = measure_remote(way, replace(written(way, feed), workers=1), Plan(seconds=1), feed.folder, 1)
    assert sorted(remote.fetched) == ["knee0", "knee1"]
    assert remote.fetch_seconds > 0
    assert [name for name, _ in seen] == ["dmapsvc remote", "dmapsvc remote", "dmapsvc"]
    assert all(cases == set(remote.fetched) for _, cases in seen)


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    arguments = ["--cases=1", "--shape=20,40,44", "--patch=12,16,20", "--seconds=0.2", "--rounds=1"]
    monkeypatch.setattr(sys, "argv", ["loader", *arguments, "--only=npy*", "--json", str(report)])
    assert loader.main() == 0
    told = json.loads(report.read_text())
    (npy,) = told["loaders"]
    assert npy["way"] == loader_lineup.NPY
    assert npy["patches_per_second"] == npy["warm"][0]["patches"] / npy["warm"][0]["seconds"]
    assert npy["agreement"] == {"patches": 8, "image": 0.0, "label": 0, "phi": 0.0}
    assert npy["disk_bytes_per_volume"] > 20 * 40 * 44 * (2 + 1 + 4)
    assert (told["remote"], told["ratios"]) == (None, [])
    printed = capsys.readouterr().out
    assert all(words in printed for words in ("npy memmap + DataLoader", "± 15 degrees", "0.0e+00"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only=keras"], "no contender is called 'keras'"),
        (["--cases=1", "--shape=8,8,8", "--only=npy*"], "a patch has"),
    ],
)
def test_what_cannot_be_measured_is_told_in_a_line(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["loader", *arguments])
    assert loader.main() == 2
    assert words in capsys.readouterr().err
