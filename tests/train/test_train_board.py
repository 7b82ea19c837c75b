"""The event files hold the points that were given, in the format that TensorBoard reads."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google_crc32c import value as crc32c
from tensorboardX.proto.event_pb2 import Event

from dmapsvc.store import Dataset
from dmapsvc.train import train
from dmapsvc.train.board import Board
from dmapsvc.train.history import History
from dmapsvc.train.validation import Validator
from tests.train.train_runs import tiny


def _events(folder: Path) -> Iterator[Any]:
    """What the files of `folder` hold, their lengths and checksums checked: it is TFRecord."""
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        at = 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            body = content[at + 12 : at + 12 + length]
            sums = struct.unpack_from("<I", content, at + 8) + struct.unpack_from(
                "<I", content, at + 12 + length
            )
            assert sums == (_masked(content[at : at + 8]), _masked(body))
            yield Event.FromString(body)
            at += 16 + length


def _masked(data: bytes) -> int:
    found = int(crc32c(data))
    return ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _points(folder: Path) -> list[tuple[int, str, Any]]:
    return [
        (event.step, value.tag, pytest.approx(value.simple_value))
        for event in _events(folder)
        for value in event.summary.value
    ]


def test_points_come_back_and_none_is_none(tmp_path: Path) -> None:
    with Board(tmp_path / "board") as board:
        board.write(1, {"loss": 0.5, "g_dsc": None})
        board.write(250, {"loss": 0.25, "g_dsc": 0.75})
    assert _points(tmp_path / "board") == [
        (1, "loss", 0.5),
        (250, "loss", 0.25),
        (250, "g_dsc", 0.75),
    ]


def test_a_validation_that_is_made_up_for_is_drawn_and_a_run_that_ended_draws_nothing(
    split_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    settings = tiny(split_dataset, steps=2, validate_every=2)
    monkeypatch.setattr(Validator, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(settings)
    monkeypatch.undo()
    run = train(settings)
    course = History("g_dsc")
    course.load_state_dict(run.checkpoint("last").history)
    assert course.latest is not None
    assert _points(run.tensorboard) == [(2, "g_dsc", course.latest.g_dsc), (2, "b_dsc", course.latest.b_dsc)]
    before = list(run.tensorboard.iterdir())
    train(settings)
    assert list(run.tensorboard.iterdir()) == before


def test_a_run_that_goes_on_hides_what_was_not_kept(tmp_path: Path) -> None:
    """TensorBoard drops points from the step of a START on; those up to the checkpoint stay."""
    for step in (0, 100):
        with Board(tmp_path, step=step) as board:
            board.write(step + 1, {"loss": 1.0})
    starts = {event.step for event in _events(tmp_path) if event.session_log.status == 1}
    assert starts == {1, 101}
    assert len(list(tmp_path.iterdir())) == 2, "a second run writes a file of its own"


def test_points_are_there_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmapsvc.train.board.FLUSH_SECONDS", 0.0)
    with Board(tmp_path) as board:
        board.write(1, {"loss": 1.0})
        assert _points(tmp_path) == [(1, "loss", 1.0)]


def test_a_disk_that_takes_no_more_is_told_once_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING), Board(tmp_path / "file" / "board") as board:
        board.write(1, {"loss": 1.0})
        board.write(2, {"loss": 1.0})
    assert len(caplog.records) == 1
    assert "nothing more for TensorBoard" in caplog.text


def test_a_disk_that_fills_on_the_way_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tensorboardX.record_writer import RecordWriter

    with caplog.at_level(logging.WARNING), Board(tmp_path) as board:
        board.write(1, {"loss": 1.0})
        monkeypatch.setattr(RecordWriter, "write", _full)
        board.write(2, {"loss": 1.0, "lr": 1.0})
        board.write(3, {"loss": 1.0})
    assert [record.message for record in caplog.records] == [
        "nothing more for TensorBoard: [Errno 28] No space left on device"
    ]


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")
