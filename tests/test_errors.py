"""The exception tree: one sentence, one problem, nothing lost on the way between processes."""

from __future__ import annotations

import pickle

import pytest

from dmapsvc import errors
from dmapsvc.errors import BadFile, DmapsvcError, Problem, ServerProblem, printable

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, DmapsvcError)]


def test_the_message_is_found_wanted_remedy() -> None:
    error = BadFile("mask.nii.gz: voxel (12, 4, 9) is 1.5", "a label map holds whole numbers", "Round it")
    assert str(error) == "mask.nii.gz: voxel (12, 4, 9) is 1.5; a label map holds whole numbers. Round it."


def test_the_message_is_one_line_whatever_it_quotes() -> None:
    assert str(BadFile("a\nb\x1b[2J.nii", "wanted\r\nthis")) == "ab[2J.nii; wantedthis."


def test_a_question_ends_as_one() -> None:
    assert str(BadFile("a.nii", remedy="Is it a mask?")) == "a.nii. Is it a mask?"


def test_the_problem_tells_the_same() -> None:
    problem = BadFile("found", "wanted", "remedy").problem
    assert problem == Problem(
        type="/problems/bad-file",
        title="A file that cannot be read as a volume",
        status=422,
        detail="found; wanted. remedy.",
    )


@pytest.mark.parametrize("error_class", CLASSES, ids=lambda c: c.__name__)
def test_every_class_stands_in_the_drawing_with_its_status(error_class: type[DmapsvcError]) -> None:
    drawing = errors.__doc__ or ""
    line = next(line for line in drawing.splitlines() if error_class.__name__ in line.split())
    if error_class not in (DmapsvcError, ServerProblem) and error_class.status != DmapsvcError.status:
        assert str(error_class.status) in line


@pytest.mark.parametrize(
    "error_class", [c for c in CLASSES if c is not ServerProblem], ids=lambda c: c.__name__
)
def test_errors_survive_the_way_between_processes(error_class: type[DmapsvcError]) -> None:
    copy = pickle.loads(pickle.dumps(error_class("found", "wanted", "remedy")))
    assert type(copy) is error_class
    assert (copy.found, copy.wanted, copy.remedy) == ("found", "wanted", "remedy")


def test_a_servers_problem_survives_too() -> None:
    problem = Problem(type="/problems/busy", title="The queue is full", status=503, detail="Come back later.")
    assert pickle.loads(pickle.dumps(ServerProblem(problem))).problem == problem


def test_printable_text_is_cut_and_has_no_control_characters() -> None:
    assert printable("a\x00b\nc\u202e") == "abc"
    assert len(printable("x" * 500)) == 120
