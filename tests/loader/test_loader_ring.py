from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dmapsvc.loader.ring import Ring, Scratch


def _ring(keep: int = 2) -> Ring:
    return Ring((2, 3, 4), torch.float32, keep=keep, pinned=False)


def test_memory_is_used_again_once_no_tensor_shares_it() -> None:
    ring = _ring()
    first = ring.take()
    place = first.data_ptr()
    assert (first.shape, first.dtype) == ((2, 3, 4), torch.float32)
    del first
    assert ring.take().data_ptr() == place


@pytest.mark.parametrize(
    "share",
    [
        lambda tensor: tensor[1, 2:],
        lambda tensor: tensor.numpy()[0],
        lambda tensor: tensor.detach().view(24),
        lambda tensor: {"a batch": [tensor.transpose(0, 2)]}["a batch"][0],
    ],
)
def test_whoever_shares_a_part_keeps_it_all_from_being_overwritten(share: Callable[[Tensor], Any]) -> None:
    ring = _ring()
    shared = share(ring.take().fill_(1))
    gc.collect()
    again = [ring.take().fill_(2) for _ in range(3)]
    assert (np.asarray(shared) == 1).all()
    del shared, again
    assert len(ring._free) == 2


def test_only_so_many_arrays_are_kept() -> None:
    ring = _ring(keep=2)
    tensors = [ring.take() for _ in range(5)]
    places = {tensor.data_ptr() for tensor in tensors}
    assert len(places) == 5
    tensors.clear()
    assert len(ring._free) == 2


def test_tensors_may_be_let_go_by_other_threads() -> None:
    ring = _ring(keep=4)

    def use() -> None:
        for number in range(300):
            tensor = ring.take().fill_(number)
            assert (tensor == number).all()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(ring._free) <= 4


def test_a_fork_lets_go_while_a_thread_of_its_parent_holds_the_lock() -> None:
    ring = _ring()
    tensor = ring.take()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with ring._lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # which ends it, if it hangs
        del tensor
        os._exit(0)
    ended = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert ended == 0


def test_scratch_grows_to_the_largest_and_stays() -> None:
    scratch = Scratch(pinned=False)
    place = scratch.take("image", (4, 5), torch.float32).data_ptr()
    assert scratch.take("image", (2, 3, 3), torch.float32).shape == (2, 3, 3)
    assert scratch.take("image", (20,), torch.float32).data_ptr() == place
    assert scratch.take("label", (20,), torch.int16).dtype == torch.int16
    assert scratch.take("image", (21,), torch.float32).shape == (21,)
