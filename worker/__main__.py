"""`python -m worker`: run the jobs of the service until told to stop.

What cannot start says why in one line, with exit code 2.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dmapsvc.errors import BadInput
from dmapsvc.settings import Settings, load_settings
from dmapsvc.telemetry.logs import start_logging
from worker.supervisor import CANNOT_START, supervise


def main() -> int:
    """Run until told to stop; the exit code."""
    try:
        settings = _settings()
        start_logging("worker", settings.log)
        return supervise(settings)
    except BadInput as error:
        print(f"worker: {error}", file=sys.stderr)
        return CANNOT_START


def _settings() -> Settings:
    parser = argparse.ArgumentParser(
        prog="python -m worker",
        description="Runs the jobs of a dmapsvc service. Settings are DMAPSVC_* in the environment.",
    )
    parser.add_argument("--data", type=Path, help="folder of the service (DMAPSVC_DATA)")
    parser.add_argument(
        "--device",
        help="distance backend: auto, cuda, cucim, numba or scipy, and a GPU, as in cuda:1 (DMAPSVC_DEVICE)",
    )
    parser.add_argument("--concurrency", type=int, help="jobs side by side (DMAPSVC_CONCURRENCY)")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    return load_settings(**given)


if __name__ == "__main__":
    sys.exit(main())
