"""The OpenAPI document, with what FastAPI cannot know: that a key may be asked for, and where it never is."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from api.access import OPEN, KeyTooWeak, KeyWanted
from api.hosts import WrongHost
from api.limits import TooManyRequests
from api.problems import responses

REFUSALS = responses(WrongHost, KeyWanted, KeyTooWeak, TooManyRequests)
"""What any call but those of `api.health` may be answered with before it is reached."""


class DocumentedApp(FastAPI):
    """A FastAPI whose document names the key."""

    def openapi(self) -> dict[str, Any]:
        """As FastAPI defines it; the document is made once."""
        made = self.openapi_schema is not None
        document = super().openapi()
        if not made:
            document["components"]["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer", "description": "Where the service has keys."}
            }
            document["security"] = [{"key": []}, {}]  # {}: a service without keys asks for none
            for path in OPEN & document["paths"].keys():
                for call in document["paths"][path].values():
                    call["security"] = []
        return document
