"""What is wrong with a published case is told when it is opened or read: which array, and what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmapsvc.errors import Damaged, NotFound
from dmapsvc.store import Dataset
from dmapsvc.store.classtable import class_table
from dmapsvc.store.mapped import MappedCase


def read_all(case: MappedCase) -> None:
    """Image, label and Φ of the whole volume."""
    shape, numbers = case.record.shape, np.ones(3)
    image, phi, label = (
        np.empty((1, *shape), np.float32),
        np.empty(shape, np.float32),
        np.empty(shape, np.int16),
    )
    case.read_image((0, 0, 0), image, numbers[:1], numbers[:1])
    case.read_label((0, 0, 0), label, class_table((0, 5, 7)))
    case.read_phi((0, 0, 0), phi, label, numbers, numbers)


def test_opening_what_is_not_there_or_broken_names_the_case(
    published: tuple[Dataset, Path], tmp_path: Path
) -> None:
    _, folder = published
    with pytest.raises(NotFound, match="case 'b'"):
        MappedCase(tmp_path / "none", "b")
    (folder / "phi/0/c/0/0/0").unlink()
    with pytest.raises(Damaged, match="case 'a': phi: its shard is missing"):
        MappedCase(folder, "a")
    node = json.loads((folder / "zarr.json").read_text())
    del node["consolidated_metadata"]["metadata"]["label/0"]
    (folder / "zarr.json").write_text(json.dumps(node))
    with pytest.raises(Damaged, match="case 'a': label: its metadata are missing"):
        MappedCase(folder, "a")
    for broken in ("{", "[]", '{"attributes": {}}'):
        (folder / "zarr.json").write_text(broken)
        with pytest.raises(Damaged, match="case 'a': its metadata cannot be read"):
            MappedCase(folder, "a")


def edit(folder: Path, change: Callable[[Any], None]) -> None:
    """Change the case's own copy of its arrays' metadata."""
    content = json.loads((folder / "zarr.json").read_text())
    change(content["consolidated_metadata"]["metadata"])
    (folder / "zarr.json").write_text(json.dumps(content))


CODECS: dict[str, tuple[str, Callable[[Any, Any], None]]] = {
    "inner": ("phi/0", lambda outer, new: outer["configuration"]["codecs"].insert(1, new)),
    "outer": ("label/0", lambda outer, new: outer.update(new)),
    "of the index": ("image/0", lambda outer, new: outer["configuration"].update(index_codecs=[new])),
    "a name alone": ("image/0", lambda outer, new: outer["configuration"].update(codecs=[new["name"]])),
    "of the positions": ("positions", lambda first, new: first.update(new)),
}


@pytest.mark.parametrize("where", CODECS)
def test_a_codec_that_is_not_installed_is_named_with_its_array(
    published: tuple[Dataset, Path], where: str
) -> None:
    dataset, folder = published
    path, put = CODECS[where]
    edit(folder, lambda nodes: put(nodes[path]["codecs"][0], {"name": "acme.lzma", "configuration": {}}))
    wanted = f"case 'a': {path.partition('/')[0]}: .*'acme.lzma'"
    with pytest.raises(Damaged, match=wanted) as caught:
        MappedCase(folder, "a")
    assert "Install" in caught.value.remedy
    with pytest.raises(Damaged, match=wanted):
        dataset.case("a")


@pytest.mark.parametrize(
    ("array", "kind", "right"), [("phi", "int16", "uint16"), ("image", "uint16", "int16")]
)
def test_a_type_that_is_not_the_recorded_one_is_never_read(
    published: tuple[Dataset, Path], array: str, kind: str, right: str
) -> None:
    _, folder = published
    edit(folder, lambda nodes: nodes[f"{array}/0"].update(data_type=kind))
    with pytest.raises(Damaged, match=f"case 'a': {array}: its type is {kind}; .* {right}"):
        MappedCase(folder, "a")


def shard_places(content: bytes) -> list[int]:
    """Some bytes of a shard: of each chunk, and of the index, which is last, with its checksum."""
    random = np.random.default_rng(0)
    return [*random.integers(0, len(content), 30), *range(len(content) - 36, len(content))]


@pytest.mark.parametrize("array", ["label", "phi", "image"])
def test_a_flipped_bit_in_any_array_or_its_index_is_found(
    published: tuple[Dataset, Path], array: str
) -> None:
    _, folder = published
    path = folder / f"{array}/0/c/0/0/0"
    sound = path.read_bytes()
    for place in shard_places(sound):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(Damaged, match=f"case 'a': {array}: (chunk|the shard's index) .* checksum"):
            read_all(MappedCase(folder, "a"))


def test_positions_that_are_missing_or_damaged_say_so(published: tuple[Dataset, Path]) -> None:
    _, folder = published
    path = folder / "positions/c/0/0"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(Damaged, match=r"case 'a': positions: .* checksum"):
        MappedCase(folder, "a")
    path.unlink()
    with pytest.raises(Damaged, match=r"case 'a': positions: .* missing"):
        MappedCase(folder, "a")
