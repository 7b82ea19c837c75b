"""The same dataset over loopback HTTP, into an empty cache: how soon, and how fast after that.

The server is `python -m api` over the folder in which the datasets lie.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx

from benchmarks import loader_ours
from benchmarks.loader_feed import Feed
from benchmarks.loader_formats import DATASET
from benchmarks.loader_race import Plan, Run, Way, measure
from demo.service import Service
from dmapsvc.store import Dataset
from dmapsvc.store.layout import case_files

_BLOCK = 1 << 20
_MODULES = ("httpx", "dmapsvc.loader.remote.mirror", "dmapsvc.loader.remote.http_origin", "dmapsvc.settings")


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Of a remote dataset: `fetch_seconds`, in which the cases of the first batch come as plain files;
    `start`, from an empty cache, and `later`, when every case has been fetched; `local`, the same without a
    server, in the same minute.
    """

    fetched: tuple[str, ...]
    fetch_seconds: float
    start: Run
    later: Run
    local: Run


def measure_remote(way: Way, feed: Feed, plan: Plan, data: Path, rounds: int) -> Remote:
    """`way` is dmapsvc's own on the local folder; `data` is the folder of the service above the dataset."""
    with Service(data, parts=("api",)) as service, tempfile.TemporaryDirectory(dir=data.parent) as folder:
        url = f"{service.url}/v1/datasets/{DATASET}"
        cases = _first_cases(feed)
        starts, fetches = [], []
        for turn in range(rounds):
            fetches.append(_fetch(service.url, feed.folder, cases, Path(folder, f"plain{turn}")))
            remote = _remote(way, url, Path(folder, f"cache{turn}"))
            starts.append(measure(remote, feed, replace(plan, first=feed.batch)))
        later = [measure(remote, feed, _second_epoch(plan, feed)) for _ in range(rounds)]
    local = [measure(way, feed, _second_epoch(plan, feed)) for _ in range(rounds)]
    return Remote(
        fetched=cases,
        fetch_seconds=min(fetches),
        start=min(starts, key=lambda run: run.first_seconds),
        later=max(later, key=lambda run: run.rate),
        local=max(local, key=lambda run: run.rate),
    )


def _remote(way: Way, url: str, cache: Path) -> Way:
    return replace(
        way,
        name=f"{way.name} remote",
        batches=partial(loader_ours.remote_batches, url=url, cache=cache),
        modules=(*way.modules, *_MODULES),
    )


def _second_epoch(plan: Plan, feed: Feed) -> Plan:
    """`plan`, counting only after every case has been drawn several times."""
    return replace(plan, skipped=max(plan.skipped, 8 * len(feed.cases) // feed.batch))


def _first_cases(feed: Feed) -> tuple[str, ...]:
    """Those of the first batch, which are the same for the same seed wherever the dataset lies."""
    batches = loader_ours.batches(replace(feed, placed=True), rotated=False, verify=True)
    try:
        return tuple(dict.fromkeys(case for case, _ in next(batches).places()))
    finally:
        batches.close()


def _fetch(server: str, dataset: Path, cases: Sequence[str], folder: Path) -> float:
    """Seconds in which all files of `cases` are fetched into the new folder `folder`, one after the other."""
    local = Dataset.open(dataset)
    records = {case: local.record(case) for case in cases}
    keys = [f"{case}/{key}" for case, record in records.items() if record for key in case_files(record)]
    start = time.perf_counter()
    with httpx.Client(base_url=f"{server}/zarr/{dataset.name}/") as client:
        for key in keys:
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            with client.stream("GET", key) as answer, path.open("wb") as file:
                answer.raise_for_status()
                for block in answer.iter_bytes(_BLOCK):
                    file.write(block)
    return time.perf_counter() - start
