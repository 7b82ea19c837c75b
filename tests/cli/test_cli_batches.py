"""`dmapsvc submit --remote-folder` and `dmapsvc batch`, against a real service."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.service import Service
from tests.cli.cli_run import Run


def test_a_folder_of_the_server_is_submitted_left_and_followed(
    cli: Callable[..., Run], masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (masks / "text.nii").write_text("<html>")
    arguments = ["submit", "--remote-folder", str(masks), "--remote-images", str(masks.parent / "images")]
    arguments += ["--dataset", "knees", "--labels", "5,6"]
    with Service(tmp_path / "data", parts=("api",), roots=masks.parent) as service:
        monkeypatch.setenv("DMAPSVC_SERVER", service.url)
        command = [sys.executable, "-m", "dmapsvc", *arguments]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            first = process.stderr.readline()
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=60)[1]
        batch = first.split()[1].rstrip(":")
        assert first == f"batch {batch}: 4 cases, 6 files\n"
        assert process.returncode == 130
        assert f"`dmapsvc batch show {batch} --watch --server {service.url}`" in rest
        assert "Traceback" not in rest

        listed = cli("batch", "list").out.splitlines()
        assert len(listed) == 2
        assert listed[1].split()[:3] == [batch, "knees", str(masks)]
        service.start("worker")
        shown = cli("batch", "show", batch, "--watch")
        fields = dict(line.split(maxsplit=1) for line in shown.out.splitlines())
        assert shown.code == 1
        assert (fields["done"], fields["failed"], fields["queued"]) == ("5", "1", "0")
        failed = cli("batch", "failures", batch).out.splitlines()
        assert failed[1].split()[:3] == ["text", "mask", "text.nii"]
        assert "looks like HTML" in failed[1]

        again = cli(*arguments, "--pattern", "[abc].nii.gz")
        assert again.code == 0, again.err
        counts = "0 files done, 0 failed, 0 cancelled, 5 there already, 0 under way elsewhere"
        assert again.out == f"knees: {counts}\n"
        assert cli("batch", "cancel", batch).code == 0
        assert cli("batch", "show", "0" * 32).code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "neither FILES nor --remote-folder"),
        (["a.nii", "--remote-folder", "/data"], "FILES and --remote-folder"),
        (["a.nii", "--pattern", "*_seg*"], "without --remote-folder"),
        (["--remote-folder", "/data", "--images", "x"], "--remote-images"),
    ],
)
def test_what_does_not_go_together_is_said_before_anyone_is_asked(
    cli: Callable[..., Run], arguments: list[str], words: str
) -> None:
    run = cli("submit", *arguments, "--dataset", "knees")
    assert run.code == 2
    assert words in run.err
