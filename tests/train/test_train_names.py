from __future__ import annotations

import subprocess
import sys

import pytest

from dmapsvc.errors import BadInput
from dmapsvc.train.names import (
    DIVISORS,
    LOSSES,
    NETWORKS,
    NetworkName,
    check_loss,
    check_network,
    check_patch,
)


def test_names_need_neither_torch_nor_monai() -> None:
    script = "import sys, dmapsvc.train.names; print({'torch', 'monai'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_every_network_has_a_divisor() -> None:
    assert set(DIVISORS) == set(NETWORKS)


@pytest.mark.parametrize("name", LOSSES)
def test_names_of_losses_are_taken(name: str) -> None:
    assert check_loss(name) == name


@pytest.mark.parametrize("name", NETWORKS)
def test_names_of_networks_are_taken(name: str) -> None:
    assert check_network(name) == name


def test_other_names_are_told_which_there_are() -> None:
    with pytest.raises(BadInput, match="loss 'tversky'; wanted one of penalty, penalty-dice, cross-entropy"):
        check_loss("tversky")
    with pytest.raises(BadInput, match="network 'unet'; wanted one of vnet, monai-vnet, monai-unet"):
        check_network("unet")


@pytest.mark.parametrize(
    ("name", "patch", "says"),  # one at a time
    [
        ("vnet", (30, 70, 32), r"vnet wants three sides, multiples of 16. Try \(32, 64, 32\)"),
        (
            "monai-segresnet",
            (8, 3, 12),
            r"monai-segresnet wants three sides, multiples of 8. Try \(8, 8, 16\)",
        ),
        ("vnet", (0, 16, 16), r"multiples of 16. Try \(16, 16, 16\)"),
        ("vnet", (16, 16), "three sides"),
        ("monai-unet", (8, 8, 8), r"monai-unet wants a side above 8. Try \(16, 16, 16\)"),
        ("monai-unet", (9, 8, 8), r"multiples of 8. Try \(16, 16, 16\)"),
        ("monai-dynunet", (16, 16, 16), "monai-dynunet wants a side above 16"),
        ("monai-vnet", (16, 16, 16), r"side above 16, or a batch above 1. Try \(32, 32, 32\)"),
    ],
)
def test_patches_that_a_network_cannot_learn_from(
    name: NetworkName, patch: tuple[int, ...], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        check_patch(name, patch, 1)


@pytest.mark.parametrize("name", ["monai-unet", "monai-dynunet"])
def test_more_patches_at_a_time_do_not_help_where_each_is_normalised(name: NetworkName) -> None:
    with pytest.raises(BadInput, match=r"wants a side above \d+\."):
        check_patch(name, (DIVISORS[name],) * 3, 2)
