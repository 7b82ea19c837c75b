"""What a loss costs: a V-Net's training step with each of them, beside one with plain cross-entropy.

    python -m benchmarks.losses [--patch 32,64,64] [--batch 1] [--width 16] [--rounds 5]

The losses take turns, step by step, on one network and one batch of random numbers, each round in another
order; the fastest step of each counts. On a CPU it is the CPU seconds of one thread, which other work on the
cores stretches least; on a GPU the wall clock. Within a step the loss's own part is timed too, from the
logits to their gradient: milliseconds beside the network's seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.report import Ratio, print_ratios, print_section, progress, setting, write_json
from benchmarks.timing import Progress
from dmapsvc.cli.options import parse_sides
from dmapsvc.cli.output import print_table
from dmapsvc.train.losses import Loss, make_loss
from dmapsvc.train.names import LOSSES, LossName
from dmapsvc.train.networks import placed
from dmapsvc.train.vnet import VNet

PACKAGES = ("torch", "monai", "numpy")
CLASSES = 4  # the background and three bones
PLAIN: LossName = "cross-entropy"
PENALTY: LossName = "penalty"
TARGET = 1.03


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of a whole step, and of the loss's own part in it, forward and backward."""

    step: float
    own: float


def main() -> int:
    """Run the benchmark on the command line's arguments; the exit code."""
    arguments = _arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    report = setting(PACKAGES) | {"device": device.type, "patch": arguments.patch, "batch": arguments.batch}
    with progress("losses") as tell:
        costs = measure(
            patch=arguments.patch,
            batch=arguments.batch,
            width=arguments.width,
            rounds=arguments.rounds,
            device=device,
            tell=tell,
        )
    sides = "x".join(map(str, arguments.patch))
    clock = "CPU ms of one thread" if device.type == "cpu" else "ms on the GPU"
    print_section(
        f"A step of a V-Net of width {arguments.width} on {arguments.batch} x {sides}, {clock}, "
        f"the fastest of {arguments.rounds}"
    )
    _print_costs(costs)
    ratios = _ratios(costs[PENALTY], costs[PLAIN])
    print_section("Ratios of this run")
    print_ratios(ratios)
    seconds = {name: dataclasses.asdict(cost) for name, cost in costs.items()}
    write_json(arguments.json, report | {"seconds": seconds, "ratios": [ratio.to_json() for ratio in ratios]})
    return 0


def _print_costs(costs: Mapping[LossName, Cost]) -> None:
    plain = costs[PLAIN]
    print_table(
        ["loss", "ms a step", "over cross-entropy", "own ms", "over cross-entropy, by its own part"],
        [
            [
                name,
                f"{1000 * cost.step:.0f}",
                f"{cost.step / plain.step:.3f}",
                f"{1000 * cost.own:.1f}",
                f"{by_parts(cost, plain):.4f}",
            ]
            for name, cost in costs.items()
        ],
    )


def _ratios(penalty: Cost, plain: Cost) -> list[Ratio]:
    values = {
        "a step with the penalty over one with cross-entropy": penalty.step / plain.step,
        "the same, by the loss's own part": by_parts(penalty, plain),
    }
    return [Ratio(name=name, value=value, target=TARGET, at_least=False) for name, value in values.items()]


def by_parts(cost: Cost, plain: Cost) -> float:
    """The ratio of the steps, with the rest of the step, which is the same work, taken as the same."""
    return 1 + (cost.own - plain.own) / plain.step


def measure(
    *, patch: tuple[int, int, int], batch: int, width: int, rounds: int, device: torch.device, tell: Progress
) -> dict[LossName, Cost]:
    """The fastest of `rounds` steps with every loss, after one that is not counted."""
    training = _Training(patch, batch, width, device)
    losses = {name: make_loss(name, voxels=training.voxels).to(device) for name in LOSSES}
    runs: dict[LossName, list[Cost]] = {name: [] for name in LOSSES}
    for number in range(rounds + 1):
        turn = number % len(LOSSES)
        for done, name in enumerate((*LOSSES[turn:], *LOSSES[:turn])):
            tell(number * len(LOSSES) + done, (rounds + 1) * len(LOSSES), name)
            cost = training.step(losses[name])
            if number:
                runs[name].append(cost)
    return {
        name: Cost(step=min(run.step for run in costs), own=min(run.own for run in costs))
        for name, costs in runs.items()
    }


class _Training:
    """A V-Net, its optimiser, and a batch that it sees again and again."""

    def __init__(self, patch: tuple[int, int, int], batch: int, width: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self._device = device
        self._net = placed(VNet(in_channels=1, classes=CLASSES, width=width), device)
        self._optimizer = torch.optim.Adam(self._net.parameters(), lr=1e-4)
        self._image = torch.randn(batch, 1, *patch, device=device)
        self._target = torch.randint(0, CLASSES, (batch, *patch), dtype=torch.int16, device=device)
        self._phi = torch.rand(batch, *patch, device=device)
        self.voxels = torch.bincount(self._target.long().flatten().cpu(), minlength=CLASSES).tolist()

    def step(self, loss: Loss) -> Cost:
        """One step of Adam, cut in two at the logits."""
        start = self._now()
        self._optimizer.zero_grad(set_to_none=True)
        logits: Tensor = self._net(self._image)
        before = self._now()
        cut = logits.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(cut, self._target, self._phi), cut)
        after = self._now()
        torch.autograd.backward(logits, gradient)
        self._optimizer.step()
        return Cost(step=self._now() - start, own=after - before)

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return time.perf_counter()
        return time.process_time()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.losses",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "--patch", type=parse_sides, default=(32, 64, 64), help="sides z,y,x (default: 32,64,64)"
    )
    parser.add_argument("--batch", type=int, default=1, help="patches a step (default: %(default)s)")
    parser.add_argument("--width", type=int, default=16, help="of the V-Net (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="that are counted (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
