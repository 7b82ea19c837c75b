"""`python -m tests.compare.unreported compare …`: the command line, without the report's drawing."""

from __future__ import annotations

import sys
from unittest import mock

from dmapsvc.cli import main

if __name__ == "__main__":
    with mock.patch("dmapsvc.compare.comparison.report", lambda place, _: place.out / "report"):
        sys.exit(main())
