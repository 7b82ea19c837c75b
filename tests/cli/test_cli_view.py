"""`view` draws a case or a batch, and says what is wrong with what was asked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.cli_run import Run

Cli = Callable[..., Run]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def store(cli: Cli, masks: Path, tmp_path: Path) -> Path:
    shutil.rmtree(masks / "sub")  # a case without an image, which cannot be drawn from
    assert cli("precompute", masks, tmp_path / "d.zarr", "--images", tmp_path / "images").code == 0
    return tmp_path / "d.zarr"


def test_a_batch(cli: Cli, store: Path, tmp_path: Path) -> None:
    options = ("--batch", "2", "--patch", "8,16,16", "--rotation", "90", "--scale", "none", "--seed", "4")
    pictures = tmp_path / "one.png", tmp_path / "two.png"
    for picture in pictures:
        run = cli("view", store, *options, "-o", picture)
        assert (run.code, run.out) == (0, f"{picture}\n"), run.err
    assert pictures[0].read_bytes().startswith(PNG)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_the_turned_half_is_turned_by_what_its_title_says(
    cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without rotation both halves are the same; with it, the right one is the loader's own batch."""
    import dmapsvc.figures
    from dmapsvc.figures import TurnedPatch
    from dmapsvc.loader.patchloader import PatchLoader
    from dmapsvc.loader.turns import Augment

    drawn: list[list[TurnedPatch]] = []
    original = dmapsvc.figures.batch_figure

    def watched(patches: list[TurnedPatch], **titles: str) -> object:
        drawn.append(patches)
        return original(patches, **titles)

    monkeypatch.setattr(dmapsvc.figures, "batch_figure", watched)
    for rotation in ("0", "180"):
        run = cli(
            "view",
            store,
            "--batch",
            "3",
            "--patch",
            "8,12,12",
            "--rotation",
            rotation,
            "-o",
            tmp_path / "b.png",
        )
        assert run.code == 0, run.err
    still, turned = drawn
    for one in still:
        assert one.turn == "rotated by +0.0°"
        assert (one.plain.phi == one.turned.phi).all()
        assert (one.plain.label == one.turned.label).all()
    with PatchLoader(store, patch=(8, 12, 12), batch=3, augment=Augment(rotation=180)) as loader:
        batch = next(iter(loader))
    for number, one in enumerate(turned):
        assert one.title.startswith(f"{batch['case'][number]}, corner")
        assert one.title.endswith(f"({', '.join(map(str, batch['corner'][number].tolist()))})")
        assert (one.turned.phi == batch["phi"][number].numpy()).all()
        assert not (one.plain.phi == one.turned.phi).all()
    assert len({one.turn for one in turned}) == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "neither a case nor --batch"),
        (("a", "--batch", "2"), "case a and --batch 2"),
        (("--batch", "0"), "batch 0; wanted at least 1"),
        (("--batch", "2", "--patch", "8,8"), "--patch '8,8'"),
        (("--batch", "2", "--scale", "letter"), "scale 'letter'"),
        (("--batch", "2", "--rotation", "200"), "±200.0°"),
        (("a", "--axis", "w"), "--axis 'w'"),
        (("--batch", "1", "--axis", "q"), "--axis q with --batch; --axis is for a case. Leave --axis out"),
        (("--batch", "1", "--index", "9999"), "--index 9999 with --batch; --index is for a case"),
        (
            ("a", "--patch", "1,2"),
            "--patch 1,2 with case a; --patch is for --batch. Leave --patch out, or draw",
        ),
        (("a", "--rotation", "15"), "--rotation 15.0 with case a; --rotation is for --batch"),
        (("a", "--scale", "region"), "--scale region with case a; --scale is for --batch"),
        (("a", "--seed", "0"), "--seed 0 with case a; --seed is for --batch"),
    ],
)
def test_what_cannot_be_drawn(
    cli: Cli, store: Path, tmp_path: Path, arguments: tuple[str, ...], error: str
) -> None:
    run = cli("view", store, *arguments, "-o", tmp_path / "b.png")
    assert run.code == 2
    assert error in run.error
    assert not (tmp_path / "b.png").exists()


def test_without_torch_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from dmapsvc.cli import main; "
        f"sys.exit(main(['view', 'd.zarr', '--batch', '2', '-o', {str(tmp_path / 'b.png')!r}]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.endswith("Install it: pip install 'dmapsvc[train]'.\n")
    assert len(ran.stderr.splitlines()) == 1
