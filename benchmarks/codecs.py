"""What a case costs to keep and to read: image, label and Φ by codec, and by the edge of the inner chunk.

    python -m benchmarks.codecs [MASK] [--labels 5,6,7] [--image FILE] [--patch 96] [--repeat 3]

Without MASK a generated knee is measured; without --image an MR-like one is drawn from the mask. Each array
is cut into inner chunks as the store cuts it. A codec encodes and decodes all of them on one thread,
`--repeat` times, and the least CPU time of each is shown, Python's 3 or 4 µs a call included. What a patch
costs is the chunks that a cube at a uniform random place touches, on average, times what one takes to decode.
"Blocks" are what blosc cuts a chunk into, and what it could decode one by one.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import Blosc, blosc
from numpy.typing import NDArray

from demo import phantom
from dmapsvc.cli.output import print_table
from dmapsvc.maps import quantised_map
from dmapsvc.spec import MapSpec
from dmapsvc.store.layout import PACKING, Packing
from dmapsvc.volumes import read_image, read_labels

CODECS = (("lz4", 1), ("lz4", 9), ("lz4hc", 1), ("lz4hc", 3), ("lz4hc", 5), ("zstd", 1), ("zstd", 2))
SHUFFLES = {"shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}
EDGES = (16, 24, 32, 48, 64)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the chunks of one array cost, packed one way; seconds of CPU, bytes."""

    packing: Packing
    chunks: int
    raw: int
    packed: int
    encoding: float
    decoding: float
    touched: float
    blocks: int

    def row(self, first: str) -> list[object]:
        return [
            first,
            f"{self.packed / 1e6:.2f}",
            f"{self.raw / 1e6 / self.encoding:.0f}",
            f"{self.raw / 1e6 / self.decoding:.0f}",
            f"{self.touched:.0f}",
            f"{1e3 * self.touched * self.decoding / self.chunks:.2f}",
            self.blocks,
        ]


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    blosc.set_nthreads(1)
    for name, array in _arrays(arguments).items():
        print(f"\n{name}: {array.dtype.name}, {array.nbytes / 1e6:.1f} MB")
        packings = [_packing(name, codec, shuffle) for codec in CODECS for shuffle in SHUFFLES]
        _print("codec", name, array, packings, arguments)
        chosen = PACKING[name]
        print(f"by the edge of the chunk, {chosen.compressor}-{chosen.level} {chosen.shuffle}")
        _print("edge", name, array, [_with_edge(chosen, edge) for edge in EDGES], arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codecs", description=__doc__)
    parser.add_argument("mask", nargs="?", type=Path, help="a label file; left out: a generated knee")
    parser.add_argument(
        "--labels", help="values that are classes, like 5,6,7; left out: every non-zero value"
    )
    parser.add_argument("--image", type=Path, help="an image file of any grid; left out: drawn from the mask")
    parser.add_argument("--patch", type=int, default=96, help="side of a patch (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each codec (default: %(default)s)")
    return parser.parse_args()


def _arrays(arguments: argparse.Namespace) -> dict[str, NDArray[Any]]:
    """The arrays of a case, each (z, y, x); of an image with channels, the first."""
    label: NDArray[Any] = read_labels(arguments.mask).array if arguments.mask else phantom.knee(seed=1)[0]
    phi = quantised_map(label, None, MapSpec.parse(arguments.labels)).values
    image = read_image(arguments.image).array if arguments.image else phantom.render(label, seed=1)
    return {"image": image if image.ndim == 3 else image[0], "label": label, "phi": phi}


def _packing(name: str, codec: tuple[str, int], shuffle: str) -> Packing:
    compressor, level = codec
    return Packing(edge=PACKING[name].edge, compressor=compressor, level=level, shuffle=shuffle)  # type: ignore[arg-type]  # a key of SHUFFLES


def _with_edge(packing: Packing, edge: int) -> Packing:
    return Packing(edge=edge, compressor=packing.compressor, level=packing.level, shuffle=packing.shuffle)


def _print(
    column: str, name: str, array: NDArray[Any], packings: list[Packing], arguments: argparse.Namespace
) -> None:
    rows = []
    for packing in packings:
        label = str(packing.edge)
        if column == "codec":
            label = f"{packing.compressor}-{packing.level} {packing.shuffle}"
        chosen = " (the store's)" if packing == PACKING[name] else ""
        rows.append(_cost(array, packing, arguments.patch, arguments.repeat).row(label + chosen))
    print_table(
        [column, "MB", "encodes MB/s", "decodes MB/s", "chunks a patch", "ms a patch", "blocks a chunk"], rows
    )


def _cost(array: NDArray[Any], packing: Packing, patch: int, repeat: int) -> Cost:
    chunks = list(_chunks(array, packing.edge))
    codec = Blosc(packing.compressor, packing.level, SHUFFLES[packing.shuffle])
    packed = [codec.encode(chunk) for chunk in chunks]
    out = np.empty_like(chunks[0])
    size, block = (
        int.from_bytes(packed[0][place : place + 4], "little") for place in (4, 8)
    )  # blosc's header
    return Cost(
        packing=packing,
        chunks=len(chunks),
        raw=sum(chunk.nbytes for chunk in chunks),
        packed=sum(map(len, packed)),
        encoding=_least(lambda: [codec.encode(chunk) for chunk in chunks], repeat),
        decoding=_least(lambda: [codec.decode(chunk, out) for chunk in packed], repeat),
        touched=math.prod(_touched(side, packing.edge, patch) for side in array.shape),
        blocks=math.ceil(size / block),
    )


def _chunks(array: NDArray[Any], edge: int) -> Iterator[NDArray[Any]]:
    """Cubes that cover the array, filled up with zeros beyond its edges, as a shard holds them."""
    padded = np.pad(array, [(0, -side % edge) for side in array.shape])
    for corner in np.ndindex(*(side // edge for side in padded.shape)):
        cube = tuple(slice(place * edge, (place + 1) * edge) for place in corner)
        yield np.ascontiguousarray(padded[cube])


def _touched(side: int, edge: int, patch: int) -> float:
    """Mean number of chunks that a patch touches along an axis, its corner anywhere that keeps it inside."""
    corners = range(max(0, side - patch) + 1)
    return sum((min(at + patch, side) - 1) // edge - at // edge + 1 for at in corners) / len(corners)


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
