"""What Φ costs to keep: size, encoding and decoding of the codecs that the store could use.

    python -m benchmarks.codecs [MASK] [--labels 5,6,7] [--repeat 3]

Without MASK a generated knee is measured. Φ is quantised as the store does it and cut into its inner
chunks; each codec encodes and decodes all of them on one thread, `--repeat` times, and the least CPU time of
each is shown.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numcodecs import Blosc, blosc
from numpy.typing import NDArray

from demo import phantom
from dmapsvc.cli.output import print_table
from dmapsvc.maps import penalty_map
from dmapsvc.spec import MapSpec, quantisation
from dmapsvc.store.layout import CODEC_LEVEL, CODEC_NAME, INNER
from dmapsvc.volumes import read_labels

CODECS = (("lz4", 5), ("lz4", 9), ("zstd", 1), ("zstd", 2), ("lz4hc", 1), ("lz4hc", 3), ("lz4hc", 5))


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    labels = read_labels(arguments.mask).array if arguments.mask else phantom.knee(seed=1)[0]
    chunks = _chunks(_quantised(labels, MapSpec.parse(arguments.labels)))
    blosc.set_nthreads(1)
    megabytes = sum(chunk.nbytes for chunk in chunks) / 1e6
    print(f"Φ of {arguments.mask or 'a generated knee'}: {megabytes:.1f} MB in {len(chunks)} chunks")
    print_table(
        ["codec", "MB", "encodes MB/s", "decodes MB/s"],
        [_row(name, level, chunks, megabytes, arguments.repeat) for name, level in CODECS],
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codecs", description=__doc__)
    parser.add_argument("mask", nargs="?", type=Path, help="a label file; left out: a generated knee")
    parser.add_argument(
        "--labels", help="values that are classes, like 5,6,7; left out: every non-zero value"
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs of each codec (default: %(default)s)")
    return parser.parse_args()


def _quantised(labels: NDArray[np.generic], spec: MapSpec) -> NDArray[np.uint16]:
    phi = penalty_map(labels, spec=spec).values
    step = quantisation(float(phi.max()), (1.0, 1.0, 1.0)).scale_factor
    quantised: NDArray[np.uint16] = np.rint(phi / step).astype(np.uint16)
    return quantised


def _chunks(array: NDArray[np.uint16]) -> list[NDArray[np.uint16]]:
    corners = itertools.product(*(range(0, side, INNER) for side in array.shape))
    return [np.ascontiguousarray(array[z : z + INNER, y : y + INNER, x : x + INNER]) for z, y, x in corners]


def _row(
    name: str, level: int, chunks: list[NDArray[np.uint16]], megabytes: float, repeat: int
) -> list[object]:
    codec = Blosc(name, level, Blosc.SHUFFLE)
    encoded = [codec.encode(chunk) for chunk in chunks]
    encoding = _least(lambda: [codec.encode(chunk) for chunk in chunks], repeat)
    decoding = _least(lambda: [codec.decode(chunk) for chunk in encoded], repeat)
    chosen = " (the store's)" if (name, level) == (CODEC_NAME, CODEC_LEVEL) else ""
    size = sum(len(chunk) for chunk in encoded) / 1e6
    return [
        f"{name}-{level}{chosen}",
        f"{size:.1f}",
        f"{megabytes / encoding:.0f}",
        f"{megabytes / decoding:.0f}",
    ]


def _least(work: Callable[[], object], repeat: int) -> float:
    """CPU seconds of the cheapest of `repeat` runs."""
    least = math.inf
    for _ in range(repeat):
        start = time.process_time()
        work()
        least = min(least, time.process_time() - start)
    return least


if __name__ == "__main__":
    main()
