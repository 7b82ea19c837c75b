"""Whether the loader keeps up: a V-Net's training fed by PatchLoader, beside one fed from memory.

    python -m benchmarks.feeding [STORE] [--patch 96,96,96] [--batch 2] [--width 16] [--steps 10]

Without STORE a few knees are generated. The batches in memory lie on the device already, so what a step takes
longer when it is fed is what the device waited. The two take turns, so that neither has the quieter machine.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.loader_formats import write_store
from benchmarks.loader_volumes import all_labels, generated, write_volume
from benchmarks.report import Ratio, print_ratios, print_section, progress, setting, write_json
from benchmarks.timing import Progress
from dmapsvc.cli.options import parse_sides
from dmapsvc.cli.output import print_table
from dmapsvc.errors import DmapsvcError
from dmapsvc.loader import Augment, Batch, PatchLoader
from dmapsvc.spec import MapSpec
from dmapsvc.train import PenalizedCrossEntropy, VNet

PACKAGES = ("torch", "numpy", "zarr", "numcodecs", "numba")
KNEES, KNEE_SHAPE = 3, (160, 384, 384)
IN_MEMORY = 4  # batches: more than a cache holds
ROUNDS = 5
WARMING = 3  # steps that are not counted: the device's libraries choose their kernels


def main() -> int:
    """Run the benchmark on the command line's arguments; the exit code."""
    arguments = _arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    report = setting(PACKAGES) | {"device": _name(device)}
    try:
        with tempfile.TemporaryDirectory() as folder, progress("feeding") as tell:
            store = arguments.store or _generated(Path(folder), tell)
            seconds = _measure(store, arguments, device, tell)
    except DmapsvcError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 2
    fed, held = (statistics.median(seconds[way]) for way in ("PatchLoader", "memory"))
    print_section(f"A step of training on {report['device']}, median of {len(seconds['memory'])}")
    print_table(
        ["fed by", "ms a step", "patches/s"],
        [
            [way, f"{1000 * value:.1f}", f"{arguments.batch / value:.1f}"]
            for way, value in (("PatchLoader", fed), ("memory", held))
        ],
    )
    ratio = Ratio(
        name="a step fed by PatchLoader over one fed from memory",
        value=fed / held,
        target=1.03 if device.type == "cuda" else None,  # on a CPU the two share the cores
        at_least=False,
    )
    print_section("Ratio of this run")
    print_ratios([ratio])
    write_json(arguments.json, report | {"seconds": seconds, "ratios": [ratio.to_json()]})
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.feeding",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("store", nargs="?", help="a dataset with images; left out: generated knees")
    parser.add_argument(
        "--patch", type=parse_sides, default=(96, 96, 96), help="sides z,y,x (default: 96,96,96)"
    )
    parser.add_argument("--batch", type=int, default=2, help="patches a step (default: %(default)s)")
    parser.add_argument("--width", type=int, default=16, help="of the V-Net (default: %(default)s)")
    parser.add_argument("--rotation", type=float, default=15.0, help="degrees (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, default=10, help="of each way in each round (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="of the loader (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    return parser.parse_args()


def _generated(folder: Path, tell: Progress) -> Path:
    tell(0, ROUNDS + 1, "generating knees")
    cases = generated(folder / "files", KNEES, KNEE_SHAPE)
    spec = MapSpec(labels=all_labels(cases))
    store = folder / "knees.zarr"
    write_store([write_volume(case, spec, folder / "volumes") for case in cases], store)
    return store


def _measure(
    store: str | Path, arguments: argparse.Namespace, device: torch.device, tell: Progress
) -> dict[str, list[float]]:
    """Seconds of every counted step, by way."""
    with PatchLoader(
        store,
        patch=arguments.patch,
        batch=arguments.batch,
        augment=Augment(rotation=arguments.rotation),
        threads=arguments.threads,
        device=device,
    ) as patches:
        stream = iter(patches)
        held = itertools.cycle([next(stream) for _ in range(IN_MEMORY)])
        training = _Training(
            VNet(in_channels=patches.channels, classes=len(patches.classes), width=arguments.width).to(device)
        )
        for _ in range(WARMING):
            training.step(next(held))
        seconds: dict[str, list[float]] = {"PatchLoader": [], "memory": []}
        for number in range(ROUNDS):
            tell(number + 1, ROUNDS + 1, "training")
            for way, source in (("PatchLoader", stream), ("memory", held)):
                seconds[way] += training.run(source, arguments.steps)
    return seconds


class _Training:
    def __init__(self, net: VNet) -> None:
        self._net, self._loss = net, PenalizedCrossEntropy()
        self._optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

    def run(self, source: Iterator[Batch], steps: int) -> list[float]:
        """Seconds of each of `steps` steps, the waiting for their batches included."""
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            self.step(next(source))
            seconds.append(time.perf_counter() - start)
        return seconds

    def step(self, batch: Batch) -> None:
        """One step of Adam, until the device is done with it."""
        self._optimizer.zero_grad(set_to_none=True)
        self._loss(self._net(batch["image"]), batch["label"], batch["phi"]).backward()
        self._optimizer.step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"


if __name__ == "__main__":
    sys.exit(main())
