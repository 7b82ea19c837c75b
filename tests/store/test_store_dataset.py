"""What is asked of a dataset as a whole: a record without its case, and whether anybody still uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from numpy.typing import NDArray

from dmapsvc.errors import Conflict, Damaged
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset, Reader

if TYPE_CHECKING:
    from tests.store.conftest import Maps


def test_the_record_of_a_case_is_had_without_opening_it(dataset: Dataset, maps: Maps) -> None:
    assert dataset.record("a") is None
    given = maps.publish(dataset, "a", "a" * 64)
    assert dataset.record("a") == dataset.case("a").record == given
    for broken in ("{", "[]", '{"attributes": {}}'):
        (dataset.path / "a/zarr.json").write_text(broken)
        with pytest.raises(Damaged, match="case 'a': its metadata cannot be read"):
            dataset.record("a")


@pytest.mark.parametrize(("version", "remedy"), [(1, "precompute it again"), (3, "Update dmapsvc")])
def test_a_dataset_of_another_format_is_refused(dataset: Dataset, version: int, remedy: str) -> None:
    node = dataset.path / "zarr.json"
    content = json.loads(node.read_text())
    content["attributes"]["dmapsvc"]["format"] = version
    node.write_text(json.dumps(content))
    for use in (Dataset.open, Reader.local, lambda path: Dataset.create(path, dataset.spec)):
        with pytest.raises(Damaged, match=rf"(?s)has format {version}.*2 is known.*{remedy}"):
            use(dataset.path)


def test_a_dataset_is_destroyed_as_unused_only_if_it_is(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    def survives() -> bool:
        dataset.destroy_unused()
        return dataset.path.exists()

    maps.publish(dataset, "a", "a" * 64)
    assert survives()
    dataset.delete("a")
    add_image(dataset, "held", image)
    assert survives()
    dataset.delete("held")
    with Dataset.open(dataset.path).at_work():
        assert survives()
    assert not survives()


def test_one_case_is_enough_to_know_that_a_dataset_is_used(
    dataset: Dataset, maps: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dataset.is_empty()
    (dataset.path / "no case").mkdir()
    assert dataset.is_empty()
    for case in "abcd":
        maps.publish(dataset, case, "a" * 64)
    monkeypatch.setattr(Dataset, "cases", lambda _: pytest.fail("all were listed"))
    looked: list[Path] = []
    is_file = Path.is_file

    def look(path: Path) -> bool:
        looked.append(path)
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", look)
    assert not dataset.is_empty()
    assert len(looked) <= 3  # the dataset's own file and the folder that is no case may come first
    with pytest.raises(Conflict, match="has published cases"):
        Dataset.create(dataset.path, MapSpec(labels=(99,)))
    monkeypatch.setattr(Dataset, "is_empty", lambda _: pytest.fail("it does not matter"))
    Dataset.create(dataset.path, dataset.spec)
