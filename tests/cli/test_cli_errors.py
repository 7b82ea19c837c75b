"""Whatever goes wrong is one line on stderr and the right exit code; a traceback only for who asks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dmapsvc.cli import main
from dmapsvc.errors import DeviceFailed
from tests.cli.cli_run import Run
from tests.cli.conftest import save_nifti


@pytest.fixture
def dead() -> str:
    """The URL of a server that is not there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fetch"], "URL"),
        (["precompute", "labels", "out.zarr", "--nonsense"], "--nonsense"),
        (["precompute", "labels", "out.zarr", "--threads", "0"], "--threads"),
        (["precompute", "labels", "out.zarr", "--labels", "5,x"], "'x' is no number"),
        (["precompute", "labels", "out.zarr", "--labels", "0"], "label 0"),
        (["precompute", "labels", "out.zarr", "--units", "inch"], "'voxel' or 'mm'"),
        (["precompute", "labels", "out.zarr", "--names", "femur"], "5=femur"),
        (["precompute", "nowhere", "out.zarr"], "nowhere"),
        (["precompute", "labels"], "Missing argument 'OUT.zarr'"),
        (["precompute", "labels", "out"], "Missing argument 'OUT.zarr'"),
        (["precompute", "out.zarr"], "Missing argument 'LABELS'"),
        (["submit", "nowhere", "--dataset", "knees"], "nowhere"),
        (["submit", "nowhere", "--dataset", "knees", "--spacing", "1,2"], "z,y,x"),
        (["submit", "nowhere", "--dataset", "knees", "--server", "localhost"], "http://127.0.0.1:8000"),
        (["jobs", "--cancel"], "JOB"),
        (["jobs", "ab", "--cancel", "--watch"], "--cancel"),
        (["info", "nowhere.zarr"], "nowhere.zarr"),
        (["check", "nowhere.zarr"], "nowhere.zarr"),
        (["check", "http://127.0.0.1:8000/v1/datasets/knees"], "http://127.0.0.1:8000/v1/datasets/knees"),
        (["check", "http://127.0.0.1:8000/v1/datasets/knees"], "`dmapsvc check FOLDER.zarr`"),
        (["view", "nowhere.zarr", "a", "-o", "a.png"], "nowhere.zarr"),
        (["view", "nowhere.zarr", "a", "-o", "a.jpeg"], "PNG"),
        (["view", "nowhere.zarr", "a", "-o", "a.png", "--axis", "w"], "z, y or x"),
        (["fetch", "knees.zarr"], "http://127.0.0.1:8000/v1/datasets/knees"),
        (["train", "nowhere.zarr", "-o", "x.pt", "--patch", "64"], "z,y,x"),
        (["train", "nowhere.zarr", "-o", "x.pt"], "nowhere.zarr"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    cli: Callable[..., Run],
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = cli(*arguments)
    assert run.code == 2
    assert run.error.startswith("error: ")
    assert words in run.error
    assert list(tmp_path.iterdir()) == []


def test_a_junk_file_is_one_line_and_exit_code_2(cli: Callable[..., Run], tmp_path: Path) -> None:
    junk = tmp_path / "junk.nii.gz"
    junk.write_text("this is no volume")
    run = cli("precompute", junk, tmp_path / "out.zarr")
    assert run.code == 2
    assert run.error.startswith("error: junk.nii.gz: ")


def test_a_fractional_mask_is_one_line_and_exit_code_2(cli: Callable[..., Run], tmp_path: Path) -> None:
    save_nifti(tmp_path / "half.nii.gz", np.full((4, 4, 4), 1.5, np.float32))
    run = cli("precompute", tmp_path / "half.nii.gz", tmp_path / "out.zarr")
    assert run.code == 2
    assert "1.5" in run.error


@pytest.mark.parametrize(
    "arguments",
    [
        ["jobs"],
        ["jobs", "ab" * 32],
        ["info", "{dead}"],
        ["info", "{dead}/v1/datasets/knees"],
        ["fetch", "{dead}/v1/datasets/knees"],
        ["submit", "{masks}", "--dataset", "knees"],
    ],
)
def test_a_server_that_is_not_there_is_one_line_and_exit_code_1(
    cli: Callable[..., Run], masks: Path, dead: str, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("DMAPSVC_SERVER", dead)
    run = cli(*[argument.format(dead=dead, masks=masks) for argument in arguments])
    assert run.code == 1
    assert dead in run.error
    assert "make serve" in run.error


@pytest.mark.parametrize("backend", ["gpu", "numba"])
def test_a_backend_that_is_not_there_is_found_before_anything_is_made(
    cli: Callable[..., Run], masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    fault = DeviceFailed("ImportError: it is not installed")
    monkeypatch.setattr("dmapsvc.maps.backends._fault", lambda name: fault)
    run = cli("precompute", masks, tmp_path / "out.zarr", "--backend", backend)
    assert run.code == 2
    assert f"backend {backend!r}" in run.error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "labels"]


def test_a_training_on_cuda_that_is_not_there(
    cli: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = cli("train", tmp_path / "knees.zarr", "-o", tmp_path / "knees.pt", "--device", "cuda")
    assert run.code == 2
    assert "Take device auto or cpu" in run.error


@pytest.mark.parametrize("command", ["train", "predict", "compare"])
def test_without_torch_the_extra_is_named(command: str, tmp_path: Path) -> None:
    words = [command, *["run"] * (command == "predict"), "knees.zarr", "-o", str(tmp_path / "out")]
    code = f"import sys; sys.modules['torch'] = None; from dmapsvc.cli import main; sys.exit(main({words!r}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.endswith("Install it: pip install 'dmapsvc[train]'.\n")
    assert len(ran.stderr.splitlines()) == 1


def test_an_unforeseen_error_names_its_class_and_how_to_see_more(
    cli: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmapsvc.client.Client.jobs", _stumble)
    run = cli("jobs")
    assert run.code == 1
    assert run.error == "error: ZeroDivisionError: one two. Run it with --debug to see the traceback."
    for arguments in (["--debug", "jobs"], ["jobs", "--debug"]):
        with pytest.raises(ZeroDivisionError):
            main(arguments)
    monkeypatch.setenv("DMAPSVC_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["jobs"])


def test_ctrl_c_is_exit_code_130(cli: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmapsvc.client.Client.jobs", _interrupt)
    run = cli("jobs")
    assert run.code == 130
    assert run.error == "stopped; run the same command again to go on"


def _stumble(*_: object, **__: object) -> None:
    raise ZeroDivisionError("one\ntwo")


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    command = f"'{sys.executable}' -m dmapsvc --help | true; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert run.stderr == ""
    assert run.stdout.strip() in ("0", "1")  # 0 if the pipe took it all before anyone closed it


def test_a_terminal_without_phi_gets_a_question_mark() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "dmapsvc", "view", "--help"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert run.returncode == 0
    assert b"label map beside ?" in run.stdout
