"""One connection to a service: requests out, JSON or a stream back, and every failure one of our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from dmapsvc.client.credentials import KeyAuth
from dmapsvc.client.urls import check_server, is_loopback
from dmapsvc.errors import Problem, ServerProblem, ServerUnreachable

CONNECT_SECONDS = 10.0  # a server that is there accepts much sooner, even over a bad network


class Wire:
    """A connection to `server`; `timeout` is the most seconds without a byte, `auth` the key to show.

    Every method raises ServerProblem with the problem the server answered, and ServerUnreachable where
    nothing answered, or something that is no dmapsvc service.
    """

    def __init__(self, server: str, timeout: float, auth: KeyAuth | None) -> None:
        self.server = check_server(server)
        self.timeout = timeout
        self._http = httpx.Client(
            base_url=self.server,
            auth=auth,
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            trust_env=not is_loopback(self.server),  # a proxy is never the way to this machine
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A successful answer, its body read."""
        with self._reaching():
            answer = self._http.request(method, path, **options)
        _raise_problem(answer)
        return answer

    def file(self, path: str) -> bytes | None:
        """The body at `path` as it is, None if nothing is there."""
        with self._reaching():
            answer = self._http.get(path, headers={"accept-encoding": "identity"})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        _raise_problem(answer)
        return answer.content

    def json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The JSON object of a successful answer."""
        return _object(self.send(method, path, **options))

    def pages(self, path: str, key: str, params: dict[str, str]) -> Iterator[Any]:
        """The items under `key` of every page of a list."""
        cursor: str | None = None
        while True:
            answer = self.send("GET", path, params={**params, "cursor": cursor} if cursor else params)
            page = _object(answer)
            if key not in page:
                raise _not_dmapsvc(answer)
            yield from page[key]
            cursor = page.get("next")
            if cursor is None:
                return

    @contextmanager
    def stream(self, path: str) -> Iterator[httpx.Response]:
        """A successful answer, its body still to be read, as the file it is."""
        headers = {"accept-encoding": "identity"}
        with self._reaching(), self._http.stream("GET", path, headers=headers) as answer:
            if not answer.is_success:
                answer.read()
            _raise_problem(answer)
            if _kind(answer) == "text/html":
                raise _not_dmapsvc(answer)
            yield answer

    @contextmanager
    def part(self, path: str, begin: int, tag: str | None) -> Iterator[httpx.Response | None]:
        """The answer with the file at `path` from the byte `begin` on if its tag is `tag`, else the whole of
        it; None if nothing is there. Its body is still to be read.
        """
        headers = {"accept-encoding": "identity"}
        if begin and tag is not None:
            headers |= {"range": f"bytes={begin}-", "if-range": tag}
        with self._reaching(), self._http.stream("GET", path, headers=headers) as answer:
            if answer.status_code == httpx.codes.NOT_FOUND:
                yield None
                return
            if not answer.is_success:
                answer.read()
            _raise_problem(answer)
            if _kind(answer) == "text/html":
                raise _not_dmapsvc(answer)
            yield answer

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise ServerUnreachable(
                f"{self.server}: no server answers there",
                remedy="Start the service (`make serve`), or see that the URL is right",
            ) from None
        except httpx.TimeoutException:
            raise ServerUnreachable(
                f"{self.server}: no answer within {self.timeout:g} s", remedy="Try again when it is less busy"
            ) from None
        except httpx.HTTPError as error:
            raise ServerUnreachable(
                f"{self.server}: the connection broke off ({error})", remedy="Try again"
            ) from None


def _raise_problem(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    if _kind(answer) != "application/problem+json":
        raise _not_dmapsvc(answer)
    body = _object(answer)
    problem = Problem(
        type=str(body.get("type", "about:blank")),
        title=str(body.get("title", answer.reason_phrase)),
        status=answer.status_code,
        detail=str(body.get("detail", "")),
    )
    seconds = answer.headers.get("retry-after", "")
    raise ServerProblem(problem, retry_after=float(seconds) if seconds.isdigit() else None)


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _not_dmapsvc(answer)
    return body


def _not_dmapsvc(answer: httpx.Response) -> ServerUnreachable:
    return ServerUnreachable(
        f"{answer.url.copy_with(query=None)}: {answer.status_code} with {_kind(answer)}",
        "a dmapsvc server answers JSON",
        "See that the server's URL is right, and what a proxy in front of it says",
    )


def _kind(answer: httpx.Response) -> str:
    kind: str = answer.headers.get("content-type", "no content")
    return kind.partition(";")[0].strip().lower()
