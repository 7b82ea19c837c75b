"""Calls made from the OpenAPI description of a service by schemathesis, and how their answers are judged."""

from __future__ import annotations

from typing import Any, cast

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.watching import PATIENCE

CHECKS: list[CheckFunction] = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip


def check_calls(url: str, *, examples: int, first: int = 0) -> dict[str, int]:
    """Make calls that fit the description and calls that do not, `examples` for each operation.

    How many were made, by operation. Raises, once all are made, what schemathesis says of the first call of
    each operation that was answered wrongly.
    """
    made: dict[str, int] = {}
    wrong: list[Exception] = []
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for found in schema.get_all_operations():
        operation = cast("Ok[APIOperation[Any, Any, Any, Any]]", found).ok()
        made[operation.label] = 0
        calls = st.one_of(
            operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
        )

        @seed(first)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(calls)
        def check(case: schemathesis.Case[Any]) -> None:
            made[case.operation.label] += 1
            case.call_and_validate(checks=CHECKS, timeout=PATIENCE)

        try:
            check()
        except Exception as error:
            wrong.append(error)
    if wrong:
        raise ExceptionGroup(f"{len(wrong)} operations answered wrongly", wrong)
    return made
