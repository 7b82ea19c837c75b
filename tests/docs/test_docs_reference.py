"""What the docs say of settings, commands and errors is what the code says."""

from __future__ import annotations

import pytest

from dmapsvc.errors import BadFile, Busy
from tests.docs.reference import DOCS, PAGES


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_the_reference_is_up_to_date(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page](), "run `make reference`"


def test_a_problem_stands_there_as_a_job_or_an_answer_has_it() -> None:
    page = PAGES["errors.md"]()
    for error in (BadFile("x"), Busy("x")):
        final = "yes" if error.permanent else ""
        row = f"| `{error.problem.type}` | {error.problem.status} | {final} | {error.problem.title} |"
        assert row in page
