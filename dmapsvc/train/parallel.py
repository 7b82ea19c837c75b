"""The processes of one training: a single one, or as many as `torchrun` started, one a GPU (or on the CPU).

Each learns from its own batches; `Group` is what they do together. Nothing here knows what is learnt.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from dmapsvc.errors import BadInput
from dmapsvc.train.settings import Device

_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, kw_only=True)
class Group:
    """This process, number `rank` of `world`, and where it calculates."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """The others enter the block once the leader is through."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            distributed.barrier()

    def agrees(self, number: int) -> bool:
        """Whether `number` is the same in all processes."""
        if self.world == 1:
            return True
        ends = torch.tensor([number, -number], device=self.device)
        distributed.all_reduce(ends, distributed.ReduceOp.MAX)
        return bool(ends[0] == -ends[1])

    def joined(self, net: nn.Module) -> nn.Module:
        """`net` with the leader's weights, and gradients that are the mean over all processes."""
        if self.world == 1:
            return net
        return DistributedDataParallel(net, device_ids=[self.device] if self.device.type == "cuda" else None)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.world == 1:
            return values
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total


@contextmanager
def process_group(wanted: Device) -> Iterator[Group]:
    """The group of this process, on the device that is `wanted`, for as long as the block lasts.

    One that is there already is used as it is; under `torchrun` one is made (NCCL on CUDA, gloo on the CPU)
    and ended; without either the process is alone. Raises BadInput for CUDA where there is none, or
    not one a process.
    """
    ours = _launched() and not distributed.is_initialized()
    device = _device(wanted)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if ours:
        if device.type == "cuda":
            distributed.init_process_group("nccl", device_id=device)
        else:
            distributed.init_process_group("gloo")
    try:
        with warnings.catch_warnings():  # of 1³ convolutions, whose strides mean nothing; it is no error
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            group = _group(device)
            yield group
            group.wait()  # none takes the group down while another still needs it
    finally:
        if ours:
            distributed.destroy_process_group()


def leads() -> bool:
    """Whether this process is the one to print: the only one, or the first of those that torchrun started."""
    return not _launched() or os.environ["RANK"] == "0"


def _group(device: torch.device) -> Group:
    if distributed.is_available() and distributed.is_initialized():
        return Group(rank=distributed.get_rank(), world=distributed.get_world_size(), device=device)
    return Group(rank=0, world=1, device=device)


def _launched() -> bool:
    return distributed.is_available() and all(name in os.environ for name in _BY_TORCHRUN)


def _device(wanted: Device) -> torch.device:
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise BadInput("device cuda", "PyTorch sees no CUDA device here", "Take device auto or cpu")
    if not there or wanted == "cpu":
        return torch.device("cpu")
    local = int(os.environ["LOCAL_RANK"]) if _launched() else torch.cuda.current_device()
    if local >= torch.cuda.device_count():
        raise BadInput(
            f"process {local} on a machine of {torch.cuda.device_count()} GPUs",
            "wanted one GPU a process",
            "Start fewer with --nproc-per-node, or take device cpu",
        )
    return torch.device("cuda", local)
