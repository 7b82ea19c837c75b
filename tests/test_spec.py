"""MapSpec, names, identities and the quantisation rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmapsvc.errors import BadName, BadSpec
from dmapsvc.spec import LARGEST_LABEL, MapSpec, Spacing, check_name, coarsest_axis, map_id, quantisation


def test_parse_keeps_the_order_of_the_labels() -> None:
    assert MapSpec.parse("7, 5,6", "mm") == MapSpec(labels=(7, 5, 6), units="mm")


def test_a_sign_and_leading_zeros_are_part_of_a_number() -> None:
    assert MapSpec.parse("+5,007").labels == (5, 7)


@pytest.mark.parametrize("text", [None, "", "all"])
def test_no_labels_means_every_value(text: str | None) -> None:
    assert MapSpec.parse(text).labels is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "label 0"),
        ("-3", "label -3"),
        ("5,5", "listed twice"),
        ("1.5", "not whole"),
        ("femur", "no number"),
        (str(LARGEST_LABEL + 1), str(LARGEST_LABEL)),
        (",", "no number"),
        ("5_0", "no number"),
        ("\u0665", "no number"),
        ("5 0", "no number"),
        ("9" * 5000, "no number"),
    ],
)
def test_a_label_that_cannot_be_one_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadSpec, match=said):
        MapSpec.parse(text)


def test_a_repetition_among_very_many_labels_is_found_at_once() -> None:
    with pytest.raises(BadSpec, match="label 300000 is listed twice"):
        MapSpec(labels=[*range(1, 300_001), 300_000])  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["9" * 5000, "x" * 5000, "\x1b[2J"])
def test_what_cannot_be_asked_for_is_quoted_briefly(given: str) -> None:
    for labels, units in ((given, "mm"), ("5", given)):
        with pytest.raises(BadSpec) as caught:
            MapSpec.parse(labels, units)
        assert caught.value.detail.isprintable()
        assert len(caught.value.detail) < 250


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(BadSpec, match="'voxel' or 'mm'"):
        MapSpec.parse("5", "inch")


@pytest.mark.parametrize("label", [True, np.True_, 5.0, np.float32(5), "5", None])
def test_what_is_no_whole_number_is_no_label(label: Any) -> None:
    with pytest.raises(BadSpec, match="labels are whole numbers"):
        MapSpec(labels=(label,))


def test_one_label_alone_is_no_list() -> None:
    with pytest.raises(BadSpec, match="Give a list"):
        MapSpec(labels=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("given_as", [[6, 5], np.array([6, 5], np.uint16), (np.int64(6), 5)])
def test_labels_become_a_tuple_of_int(given_as: Any) -> None:
    spec = MapSpec(labels=given_as)
    assert spec == MapSpec(labels=(6, 5))
    assert hash(spec) == hash(MapSpec(labels=(6, 5)))
    assert spec.hash == MapSpec(labels=(6, 5)).hash
    assert spec.labels is not None
    assert [type(label) for label in spec.labels] == [int, int]


labels = st.none() | st.lists(st.integers(1, LARGEST_LABEL), min_size=1, max_size=5, unique=True).map(tuple)
specs = st.builds(MapSpec, labels=labels, units=st.sampled_from(["voxel", "mm"]))


@given(specs)
def test_json_round_trip(spec: MapSpec) -> None:
    assert MapSpec.from_json(spec.to_json()) == spec


@given(specs, specs)
def test_the_hash_tells_specs_apart(one: MapSpec, other: MapSpec) -> None:
    assert (one.hash == other.hash) == (one == other)


def test_map_id_depends_on_each_part() -> None:
    base = {"dataset": "knees", "case": "a", "mask_sha256": "00", "spec": MapSpec()}
    others = [
        base | {"dataset": "hips"},
        base | {"case": "b"},
        base | {"mask_sha256": "01"},
        base | {"spec": MapSpec(units="mm")},
    ]
    ids = {map_id(**each) for each in [base, *others]}  # type: ignore[arg-type]
    assert len(ids) == 5


@given(st.floats(1e-3, 1e7), st.tuples(*[st.floats(1e-2, 50)] * 3))
def test_the_step_is_the_finest_that_fits_16_bits(
    maximum: float, spacing: tuple[float, float, float]
) -> None:
    step = quantisation(maximum, spacing).scale_factor
    finest = min(spacing) / 64
    assert maximum / step <= 65_535
    assert step == finest or maximum / (step / 2) > 65_535
    assert math.log2(step / finest).is_integer()
    assert finest <= 0.02 * min(spacing)


@pytest.mark.parametrize("name", ["a", "knee-1", "9.2_b", "x" * 128])
def test_names_that_may_be(name: str) -> None:
    assert check_name(name, "case") == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a\0", "x" * 129, "é", "a b", "-a", "a\n"]
)
def test_names_that_may_not(name: str) -> None:
    with pytest.raises(BadName, match="case name"):
        check_name(name, "case")


@pytest.mark.parametrize("name", ["zarr.json", "ZARR.json", "Zarr.Json"])
def test_no_case_may_lie_where_the_dataset_keeps_its_own_metadata(name: str) -> None:
    with pytest.raises(BadName, match="metadata"):
        check_name(name, "case")
    assert check_name(name, "dataset") == name


@pytest.mark.parametrize("name", [".zgroup", ".zarray", ".zattrs", ".zmetadata", "__zarr"])
def test_no_case_may_have_a_name_that_zarr_keeps_for_itself(name: str) -> None:
    with pytest.raises(BadName):
        check_name(name, "case")


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [((3, 1, 1), 0), ((1, 3, 1), 1), ((1, 1, 3), 2), ((1, 1, 1), 0), ((1, 3, 3.001), 0), (None, 0)],
)
def test_the_coarsest_axis_and_ties(spacing: Spacing | None, axis: int) -> None:
    assert coarsest_axis(spacing) == axis
