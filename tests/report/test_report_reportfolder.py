"""The folder of a report: whose it is, also after a report that was cut short."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dmapsvc.errors import BadInput, Conflict
from dmapsvc.report import reportfolder
from dmapsvc.report.plots import Drawn
from dmapsvc.report.reportfolder import GENERATOR, PAGE, check_folder, write_folder

OURS = f'<meta name="generator" content="{GENERATOR}">'


def test_a_report_that_a_full_disk_cut_short_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report"

    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(reportfolder, "write_text", full)
        with pytest.raises(BadInput, match="No space left"):
            write_folder(out, OURS, {}, {})
    (out / f".{PAGE}.0123.part").touch()  # as a kill while the page is written leaves it
    check_folder(out)
    write_folder(out, OURS, {"figure-3": Drawn(name="figure-3", png=b"p", svg=b"s")}, {"means": [{"a": 1}]})
    check_folder(out)
    assert (out / "figures" / "figure-3.png").read_bytes() == b"p"
    assert (out / "tables" / "means.csv").read_text() == "a\n1\n"


def test_files_of_others_are_no_report(tmp_path: Path) -> None:
    (tmp_path / PAGE).write_text("<title>Mine</title>")
    with pytest.raises(Conflict, match="holds other things than a report"):
        check_folder(tmp_path)
