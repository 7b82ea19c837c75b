"""A remote dataset as local folders: fetched once, resumed, verified, of one edition, within a bound."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from dmapsvc.errors import BadInput, Damaged, NotFound, ServerUnreachable
from dmapsvc.loader.remote.cachefolder import CacheFolder
from dmapsvc.loader.remote.mirror import Mirror
from dmapsvc.loader.remote.together import together
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset, layout
from dmapsvc.store.mapped import MappedCase
from tests.loader.origin_server import OriginServer

PHI = "a/phi/0/c/0/0/0"


@pytest.fixture
def server(knees: Path) -> Iterator[OriginServer]:
    with OriginServer(knees.parent) as server:
        yield server


@pytest.fixture
def mirror(server: OriginServer) -> Iterator[Mirror]:
    """The dataset `knees` of cases `a` and `b`, whose server does not answer a second time."""
    mirror = Mirror(server.url("knees"), patience=5)
    yield mirror
    mirror.close()


@pytest.fixture
def many(make_dataset: Callable[..., Path], two_bones: Callable[..., Any]) -> Path:
    """Eight cases of one size."""
    return make_dataset({f"c{n}": two_bones((24, 24, 24), 3) for n in range(8)}, name="many")


def file_bytes(folder: Path, case: str) -> dict[str, int]:
    """The size of each shard and chunk of a case, by key."""
    files = ((path, path.relative_to(folder).as_posix()) for path in (folder / case).rglob("*"))
    return {key: path.stat().st_size for path, key in files if "/c/" in key and path.is_file()}


def copies(cache: Path) -> list[str]:
    """The cases of which a copy lies in the cache."""
    return sorted(path.name.rpartition(".")[0] for path in cache.glob("*/*.*") if path.name[0] != ".")


def test_a_copy_is_the_case(knees: Path, server: OriginServer, mirror: Mirror) -> None:
    here = Dataset(knees)
    assert (mirror.name, mirror.spec, mirror.names) == (here.name, here.spec, here.names)
    assert mirror.cases() == ["a", "b"]
    assert server.arrays_sent() == {}
    for case in "ab":
        folder = mirror.folder(case)
        record = here.record(case)
        assert record is not None
        assert mirror.record(case) == record == MappedCase(folder, case).record
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert found == set(layout.case_files(record))
        for key in file_bytes(knees, case):
            assert (knees / key).read_bytes() == (folder.parent / folder.name / key[2:]).read_bytes()
        for array in ("image/0", "label/0", "phi/0", "positions"):
            one, other = zarr.open_array(knees / case / array), zarr.open_array(folder / array)
            assert np.array_equal(np.asarray(one[...]), np.asarray(other[...]))
            assert one.attrs.asdict() == other.attrs.asdict()


def test_every_array_is_sent_once_whoever_asks(knees: Path, server: OriginServer, mirror: Mirror) -> None:
    folders = together(mirror.folder, ["a", "b", "a", "a", "b", "a"], threads=6)
    assert len(set(folders)) == 2
    later = Mirror(server.url("knees"))
    assert later.folder("a") == folders[0]
    assert server.arrays_sent() == file_bytes(knees, "a") | file_bytes(knees, "b")


def test_a_copy_that_is_here_needs_no_server(server: OriginServer, mirror: Mirror) -> None:
    folder = mirror.folder("a")
    server.gone = True
    assert mirror.folder("a") == folder


def _fetch_at_once(mirror: Mirror, start: Any, folders: Any) -> None:
    start.wait()
    folders.put(str(mirror.folder("a")))


def test_two_processes_fetch_a_case_once(knees: Path, server: OriginServer, mirror: Mirror) -> None:
    context = multiprocessing.get_context("spawn")
    start, folders = context.Barrier(2), context.Queue()
    crew = [context.Process(target=_fetch_at_once, args=(mirror, start, folders)) for _ in range(2)]
    for process in crew:
        process.start()
    assert folders.get(timeout=60) == folders.get(timeout=60) == str(mirror.folder("a"))
    for process in crew:
        process.join()
    assert server.arrays_sent() == file_bytes(knees, "a")


def _fetch_before_and_after_a_fork(mirror: Mirror, folders: Any) -> None:
    mirror.prefetch(["a"])  # connections and threads, which a fork does not take along
    before = str(mirror.folder("a"))
    context = multiprocessing.get_context("fork")
    start, after = context.Barrier(1), context.Queue()
    process = context.Process(target=_fetch_at_once, args=(mirror, start, after))
    process.start()
    folders.put((before, after.get(timeout=60)))
    process.join()


def test_a_mirror_goes_on_after_a_fork_and_a_pickle(server: OriginServer, mirror: Mirror) -> None:
    context = multiprocessing.get_context("spawn")  # what other tests have loaded may not survive a fork
    folders = context.Queue()
    process = context.Process(target=_fetch_before_and_after_a_fork, args=(mirror, folders))
    process.start()
    assert folders.get(timeout=90) == (str(mirror.folder("a")),) * 2
    process.join()
    asked = server.asked.copy()
    assert pickle.loads(pickle.dumps(mirror)).folder("a") == mirror.folder("a")
    assert server.asked == asked


def test_a_connection_that_breaks_off_goes_on_where_it_was(
    knees: Path, server: OriginServer, mirror: Mirror
) -> None:
    size = (knees / PHI).stat().st_size
    server.cut[PHI] = size // 2
    folder = mirror.folder("a")
    assert (folder / PHI[2:]).read_bytes() == (knees / PHI).read_bytes()
    assert server.sent[PHI] == size + 1  # one byte twice: it shows that the file is what it was
    assert server.asked[f"/zarr/knees.zarr/{PHI}"] == 2


def test_a_download_that_a_dead_process_left_is_finished(
    knees: Path, server: OriginServer, mirror: Mirror
) -> None:
    size = (knees / PHI).stat().st_size
    server.cut[PHI] = size // 2
    impatient = Mirror(server.url("knees"), patience=0)
    with pytest.raises(ServerUnreachable, match="broke off"):
        impatient.folder("a")
    (folder,) = (path for path in Path(os.environ["DMAPSVC_CACHE"]).glob("knees-*/a.*") if path.is_dir())
    assert (folder / ".part" / "phi").stat().st_size == size // 2
    assert mirror.folder("a") == folder
    assert not (folder / ".part").exists()
    assert server.sent[PHI] == size + 1


def test_what_is_left_of_another_file_is_not_gone_on_from(
    knees: Path, server: OriginServer, mirror: Mirror
) -> None:
    size = (knees / PHI).stat().st_size
    server.cut[PHI] = size // 2
    with pytest.raises(ServerUnreachable, match="broke off"):
        Mirror(server.url("knees"), patience=0).folder("a")
    os.utime(knees / PHI)  # its tag is another now
    mirror.folder("a")
    assert server.sent[PHI] == size // 2 + size


def test_a_byte_that_is_flipped_on_the_way_is_found_and_the_array_fetched_again(
    knees: Path, server: OriginServer, mirror: Mirror
) -> None:
    for key in file_bytes(knees, "a"):
        server.spoilt[key] = 1
    folder = mirror.folder("a")
    for key, size in file_bytes(knees, "a").items():
        assert (folder / key[2:]).read_bytes() == (knees / key).read_bytes()
        assert server.sent[key] == 2 * size


@pytest.mark.parametrize("array", ["image", "label", "phi", "positions"])
def test_an_array_that_is_damaged_at_its_origin_is_named(
    knees: Path, server: OriginServer, mirror: Mirror, array: str
) -> None:
    (key,) = (key for key in file_bytes(knees, "a") if key.startswith(f"a/{array}/"))
    server.spoilt[key] = 10
    with pytest.raises(Damaged, match=rf"^case 'a': {array}: .* checksum, fetched twice from http://"):
        mirror.folder("a")
    assert server.asked[f"/zarr/knees.zarr/{key}"] == 2
    mirror.folder("b")  # and nothing else is touched by it
    server.spoilt.clear()
    assert MappedCase(mirror.folder("a"), "a").record == mirror.record("a")


def test_an_array_that_its_origin_lacks_is_named(knees: Path, server: OriginServer, mirror: Mirror) -> None:
    (knees / PHI).unlink()
    with pytest.raises(Damaged, match=r"^case 'a': phi: a/phi/0/c/0/0/0 is not there"):
        mirror.folder("a")


def test_a_case_that_is_not_there_is_named(server: OriginServer, mirror: Mirror) -> None:
    with pytest.raises(NotFound, match="case 'c'"):
        mirror.folder("c")


def test_a_case_that_is_replaced_while_it_is_fetched_is_of_one_edition(
    knees: Path,
    server: OriginServer,
    mirror: Mirror,
    publish: Callable[..., None],
    two_bones: Callable[..., Any],
    own_cache: Path,
) -> None:
    dataset, before = Dataset(knees), mirror.record("a")
    labels, image = two_bones((40, 36, 44), 9)
    replaced = threading.Lock()

    def replace_once(key: str) -> None:
        if key == PHI and replaced.acquire(blocking=False):
            publish(dataset, "a", labels + (labels > 0), image, "9" * 64, revision=2, replace=True)

    server.before = replace_once
    folder = mirror.folder("a")
    record = dataset.record("a")
    assert record is not None
    assert record.revision == 2
    assert mirror.record("a") == MappedCase(folder, "a").record == record != before
    for key in file_bytes(knees, "a"):
        assert (folder / key[2:]).read_bytes() == (knees / key).read_bytes()
    assert copies(own_cache) == ["a"]  # of the edition before nothing is left


def test_a_copy_stays_what_it_is_until_it_is_looked_at_anew(
    knees: Path, server: OriginServer, mirror: Mirror, publish: Callable[..., None], two_bones: Any
) -> None:
    folder, before = mirror.folder("a"), mirror.record("a")
    publish(Dataset(knees), "a", *two_bones((40, 36, 44), 9), "9" * 64, revision=2, replace=True)
    assert mirror.folder("a") == folder
    assert MappedCase(folder, "a").record == before
    later = Mirror(server.url("knees")).folder("a")
    assert later != folder
    assert MappedCase(later, "a").record.revision == 2


def test_the_copies_used_the_longest_ago_make_room(many: Path, own_cache: Path) -> None:
    size = sum(file.stat().st_size for file in (many / "c0").rglob("*") if file.is_file())
    with OriginServer(many.parent) as server:
        mirror = Mirror(server.url("many"), cache=CacheFolder(own_cache, 3 * size + size // 2))
        phi = mirror.folder("c0") / "phi/0/c/0/0/0"
        with phi.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for case in ("c1", "c2", "c1", "c3"):
            mirror.folder(case)
        assert copies(own_cache) == ["c1", "c2", "c3"]
        mirror.folder("c4")
        assert copies(own_cache) == ["c1", "c3", "c4"]  # c2 was used before c1
        assert mapped[:] == (many / "c0/phi/0/c/0/0/0").read_bytes()  # whoever has it mapped keeps it
        assert mirror.folder("c0").is_dir()
        assert server.sent["c0/phi/0/c/0/0/0"] == 2 * len(mapped)
        assert copies(own_cache) == ["c0", "c3", "c4"]
        assert not list(own_cache.rglob(".gone-*"))


def test_a_case_larger_than_the_bound_is_kept_alone(many: Path, own_cache: Path) -> None:
    with OriginServer(many.parent) as server:
        mirror = Mirror(server.url("many"), cache=CacheFolder(own_cache, 1000))
        for case in ("c0", "c1"):
            assert MappedCase(mirror.folder(case), case).name == case
            assert copies(own_cache) == [case]


def test_unless_a_bound_is_set_half_of_the_free_disk_is_left(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert CacheFolder(tmp_path).limit() <= min(50e9, free / 2 + 1e9)
    assert CacheFolder(tmp_path, 12).limit() == 12


def test_cases_are_fetched_ahead_in_the_order_asked_for_and_half_the_bound_is_left(
    many: Path, own_cache: Path
) -> None:
    size = sum(file.stat().st_size for file in (many / "c0").rglob("*") if file.is_file())
    order = ["c5", "c2", "c7", "c0", "c1", "c3", "c4", "c6"]
    began: list[str] = []
    changed = threading.Condition()

    def note(key: str) -> None:
        with changed:
            if key.endswith("phi/0/c/0/0/0"):
                began.append(key.partition("/")[0])
                changed.notify_all()

    def await_begun(count: int) -> None:
        with changed:
            assert changed.wait_for(lambda: len(began) >= count, timeout=20), began

    with OriginServer(many.parent) as server:
        server.before = note
        mirror = Mirror(server.url("many"), cache=CacheFolder(own_cache, 8 * size + size // 2))
        mirror.prefetch(order)
        await_begun(4)
        assert sorted(began) == sorted(order[:4])
        for number, case in enumerate(order[:4]):
            mirror.folder(case)  # used: as many more may come
            await_begun(5 + number)
            assert set(began) == set(order[: 5 + number])
        mirror.close()
    assert len(began) == 8


def test_what_is_wanted_first_comes_first_and_nothing_twice(many: Path) -> None:
    held, go_on = threading.Semaphore(0), threading.Event()
    began: list[str] = []

    def hold(key: str) -> None:
        case = key.partition("/")[0]
        if key.endswith("phi/0/c/0/0/0"):
            began.append(case)
            held.release()
            if case in ("c0", "c1"):
                go_on.wait(20)

    with OriginServer(many.parent) as server:
        mirror = Mirror(server.url("many"))
        server.before = hold
        mirror.prefetch(["c0", "c1"])
        mirror.prefetch(["c2", "c3", "c0"])  # what was wanted before stays first
        assert held.acquire(timeout=20)
        assert held.acquire(timeout=20)
        impatient = [threading.Thread(target=mirror.folder, args=(case,)) for case in ("c3", "c0", "c7")]
        for thread in impatient:
            thread.start()
        assert not held.acquire(timeout=0.3)  # the line is taken
        go_on.set()
        for thread in impatient:
            thread.join(20)
        mirror.folder("c2")
        mirror.close()
    assert sorted(began[:2]) == ["c0", "c1"]
    assert sorted(began) == ["c0", "c1", "c2", "c3", "c7"]


def test_a_cache_that_cannot_be_written_is_named_with_its_settings(
    knees: Path, server: OriginServer, mirror: Mirror, own_cache: Path
) -> None:
    with pytest.raises(BadInput, match=r"Not a directory, .*DMAPSVC_CACHE to"):
        Mirror(server.url("knees"), cache=CacheFolder(knees / "zarr.json")).folder("a")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the disk that is always full is Linux's")
def test_a_disk_that_is_full_is_named_with_its_settings(
    server: OriginServer, mirror: Mirror, own_cache: Path
) -> None:
    server.cut[PHI] = 0
    with pytest.raises(ServerUnreachable, match="broke off"):
        Mirror(server.url("knees"), patience=0).folder("a")
    (folder,) = (path for path in own_cache.glob("knees-*/a.*") if path.is_dir())
    (folder / ".part" / "phi").unlink()
    (folder / ".part" / "phi").symlink_to("/dev/full")
    with pytest.raises(BadInput, match=r"No space left .* case 'a'.*DMAPSVC_CACHE .*DMAPSVC_CACHE_BYTES"):
        mirror.folder("a")


def test_a_dataset_that_names_files_elsewhere_is_refused(knees: Path, server: OriginServer) -> None:
    mirror = Mirror(server.url("knees"))
    for case in ("../b", ".hidden", "a/label"):
        with pytest.raises(BadInput, match="case name"):
            mirror.folder(case)


def test_the_dataset_of_another_spec_lies_beside(
    make_dataset: Callable[..., Path], two_bones: Any, knees: Path, server: OriginServer, own_cache: Path
) -> None:
    other = make_dataset({"a": two_bones((16, 16, 16), 1)}, MapSpec(labels=(5,)), name="others")
    with OriginServer(other.parent) as second:
        folders = {Mirror(place).folder("a") for place in (server.url("knees"), second.url("others"))}
        folders.add(Mirror(second.url("knees")).folder("a"))
    assert len({folder.parent for folder in folders}) == 3
