"""The knee benchmark: 40 subjects, eight losses with five seeds each on them, and the report.

    python -m benchmarks.knees -o OUT [--config benchmarks/knees/cpu.toml] [--jobs 2] [--masks 'FILES']

makes OUT/{masks,images,knees.zarr,split.json,subjects.json} and OUT/comparison. The same command goes on
where it was stopped. `python -m benchmarks.knees.document OUT` then brings docs/knee-benchmark.md up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.knees import subjects
from benchmarks.knees.document import COMPARISON
from dmapsvc.cli.compare import listener
from dmapsvc.cli.output import Meter
from dmapsvc.compare import Config, Result, compare
from dmapsvc.errors import DmapsvcError

CONFIG = Path(__file__).with_name("cpu.toml")


def run(recipe: subjects.Recipe, config: Config, out: Path, making: int) -> Result:
    """Make the subjects, with `making` processes, and compare on them what `config` says, all below `out`.

    Raises what `subjects.write` and `compare` raise.
    """
    subjects.write(recipe, out, making)
    config = replace(config, train={**config.train, "split": out / subjects.SPLIT})
    with Meter("knees", None, "steps", rate=False, steady=True) as meter:
        return compare(config, out / subjects.STORE, out / COMPARISON, listener(meter))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line says; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.knees",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="the folder for all of it")
    parser.add_argument(
        "--config", type=Path, default=CONFIG, help="as for `dmapsvc compare` (default: for two cores)"
    )
    subjects.add_options(parser)
    parsed = parser.parse_args(arguments)
    try:
        recipe = subjects.Recipe.parse(parsed.masks, parsed.labels, parsed.shape)
        config = Config.from_toml(parsed.config)
        if parsed.jobs is not None:
            config = replace(config, jobs=parsed.jobs)
        result = run(recipe, config, parsed.out, parsed.jobs or subjects.JOBS)
    except DmapsvcError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that is not to be written to
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{parsed.out}: stopped; the same command goes on", file=sys.stderr)
        return 130
    for name, reason in result.failed.items():
        print(f"error: {name}: {reason}", file=sys.stderr)
    print(f"{parsed.out}: {len(result.scored)} runs scored, {len(result.failed)} failed; {result.report}")
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
