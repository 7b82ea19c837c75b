"""What the service costs beside the same work without one, on SQLite and on Postgres.

    python -m benchmarks.service [MASK] [--labels 5,6,7] [--databases sqlite,postgres] [--json FILE]

Jobs a second on masks that take no time, the wait before a job starts, idling; an upload beside writing the
file, and one mask from upload to published beside `precompute`. Without MASK that is a generated knee.
docs/benchmarks.md explains every number.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import service_case, service_queue
from benchmarks.report import progress, setting, write_json
from benchmarks.service_place import DATABASES, Database, place
from benchmarks.service_told import Figures, print_figures
from benchmarks.timing import Progress
from demo import phantom
from dmapsvc.errors import DmapsvcError
from dmapsvc.spec import MapSpec

PACKAGES = ("dbos", "sqlalchemy", "psycopg", "fastapi", "uvicorn", "numpy", "numba")
_WORKERS = 2
_BUDGET = 10**12  # bytes of memory that a body may need: no worker reads it


def main() -> int:
    """Run the benchmark on the command line's arguments; the exit code."""
    arguments = _arguments()
    try:
        spec = MapSpec.parse(arguments.labels, arguments.units)
    except DmapsvcError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 2
    report: dict[str, Any] = {**setting(PACKAGES), "databases": {}}
    for database in arguments.databases:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, progress("bench-service") as tell:
            figures = _measure(Path(folder), database, spec, arguments, tell)
        print_figures(figures, arguments.mask.name if arguments.mask else "a generated knee")
        report["databases"][database] = figures.to_json()
    write_json(arguments.json, report)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.service",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("mask", nargs="?", type=Path, help="a label file; left out: a generated knee")
    parser.add_argument(
        "--labels", help="values that are classes, like 5,6,7; left out: every non-zero value"
    )
    parser.add_argument("--units", default="mm", help="voxel or mm (default: %(default)s)")
    parser.add_argument(
        "--databases", type=_databases, default=DATABASES, help="sqlite, postgres or both (the default)"
    )
    parser.add_argument("--jobs", type=int, default=2000, help="tiny jobs (default: %(default)s)")
    parser.add_argument(
        "--concurrency", type=int, default=4, help="jobs side by side in a worker (default: %(default)s)"
    )
    parser.add_argument(
        "--starts", type=int, default=50, help="jobs sent one at a time (default: %(default)s)"
    )
    parser.add_argument("--megabytes", type=int, default=256, help="of a body (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each way (default: %(default)s)")
    parser.add_argument("--idle", type=float, default=20, help="idle seconds (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="disk to work on; left out: that of temporary files")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    return parser.parse_args()


def _databases(text: str) -> list[Database]:
    chosen = [name for name in DATABASES if name in text.split(",")]
    if len(chosen) != len(text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r}: wanted {' or '.join(DATABASES)}, or both")
    return chosen


def _measure(
    folder: Path, database: Database, spec: MapSpec, arguments: argparse.Namespace, tell: Progress
) -> Figures:
    """All that takes time; `folder` is where it happens."""
    mask = arguments.mask or _knee(folder)
    tiny = service_queue.write_tiny(folder)
    with place(folder / "upload", database, memory_budget=_BUDGET) as there:
        tell(0, 5, f"{database}: uploading")
        uploaded = service_case.upload(there, folder, arguments.megabytes, arguments.repeat)
    with place(folder / "data", database, concurrency=arguments.concurrency) as there:
        tell(1, 5, f"{database}: jobs that take no time")
        drained = service_queue.drain(there, tiny, jobs=arguments.jobs, workers=_WORKERS)
        tell(2, 5, f"{database}: one job at a time")
        started = service_queue.starts(there, tiny, jobs=arguments.starts)
        tell(3, 5, f"{database}: {mask.name}")
        took = service_case.ways(there, mask, spec, folder, arguments.repeat)
        tell(4, 5, f"{database}: idle")
        idle = service_queue.idle(there, arguments.idle)
    return Figures(database=database, upload=uploaded, drain=drained, starts=started, ways=took, idle=idle)


def _knee(folder: Path) -> Path:
    path = folder / "knee.nii.gz"
    phantom.write(path, *phantom.knee(seed=1))
    return path


if __name__ == "__main__":
    sys.exit(main())
