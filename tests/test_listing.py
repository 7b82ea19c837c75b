"""Lists in messages: all of a few, the first of many, and how many are left out."""

from __future__ import annotations

from dmapsvc.listing import first_few


def test_a_few_are_all_named() -> None:
    assert first_few(["a", "b", "c"]) == "a, b, c"
    assert first_few(range(5)) == "0, 1, 2, 3, 4"


def test_nothing_is_an_empty_text() -> None:
    assert first_few([]) == ""


def test_of_many_the_first_are_named_and_the_others_counted() -> None:
    assert first_few(range(117)) == "0, 1, 2, 3, 4 … and 112 more"
    assert first_few([1, 2, 3], 2, ",") == "1,2 … and 1 more"
