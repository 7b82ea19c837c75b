"""The command line's fixture, here too."""

from __future__ import annotations

from tests.cli.conftest import cli

__all__ = ["cli"]
