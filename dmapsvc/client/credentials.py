"""The key that a client shows: from its caller or the environment into one header, and into no message."""

from __future__ import annotations

import os
from collections.abc import Generator

import httpx

from dmapsvc.errors import BadInput

VARIABLE = "DMAPSVC_KEY"


class KeyAuth(httpx.Auth):
    """Shows `key` with every request to the server; raises BadInput for what can be no key."""

    def __init__(self, key: str) -> None:
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise BadInput(
                "the key has characters that none has",
                "wanted one as `dmapsvc keys new` prints it",
                f"See {VARIABLE}",
            )
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """As httpx defines it."""
        request.headers["authorization"] = f"Bearer {self._key}"
        yield request


def key_auth(key: str | None = None) -> KeyAuth | None:
    """What shows `key`, or the one in DMAPSVC_KEY; None if there is neither."""
    text = (os.environ.get(VARIABLE, "") if key is None else key).strip()
    return KeyAuth(text) if text else None
