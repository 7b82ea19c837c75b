"""Checksums of what lies in memory: damage is found, nothing is read beyond it, the GIL is released."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from dmapsvc.errors import Damaged
from dmapsvc.store import checksum, libraries
from dmapsvc.store.checksum import CRC_BYTES, first_broken, seal, unseal
from dmapsvc.store.shard import Shard

PAYLOADS = (b"123456789", b"", b"x" * 5000)


@pytest.fixture(params=["C", "Python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the library's own function, and where it cannot be called."""
    assert libraries.checksum() is not None
    if request.param == "Python":
        monkeypatch.setattr(checksum, "checksum", lambda: None)


@pytest.mark.usefixtures("way")
def test_what_is_sealed_is_unsealed_and_what_is_damaged_is_not() -> None:
    assert seal(b"123456789")[-CRC_BYTES:] == 0xE3069283.to_bytes(4, "little")  # RFC 3720, B.4
    for payload in PAYLOADS:
        sealed = seal(payload)
        assert bytes(unseal(memoryview(sealed)) or b"") == payload
        for place in {0, len(sealed) // 2, len(sealed) - 1}:
            damaged = bytearray(sealed)
            damaged[place] ^= 16
            assert unseal(memoryview(damaged)) is None
    for short in (b"", b"\0\0\0"):
        assert unseal(memoryview(short)) is None


@pytest.mark.usefixtures("way")
def test_the_first_that_is_broken_is_told() -> None:
    sealed = [seal(payload) for payload in PAYLOADS]
    lengths = [len(one) for one in sealed]
    places = np.column_stack((np.cumsum(lengths) - lengths, lengths))
    data = np.frombuffer(b"".join(sealed), np.uint8).copy()
    assert first_broken(data, places) is None
    for number in (2, 1, 0):
        data[places[number, 0]] ^= 1
        assert first_broken(data, places) == number
    assert first_broken(data, np.array([[0, CRC_BYTES - 1]])) == 0


def test_others_run_while_a_checksum_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_crc32c, "value", None)
    data = np.frombuffer(seal_of(bytes(8 << 20)), np.uint8)
    places = np.array([[0, len(data)]])
    go, ran = threading.Lock(), threading.Event()
    go.acquire()

    def run() -> None:
        with go:
            ran.set()

    thread, interval = threading.Thread(target=run), sys.getswitchinterval()
    thread.start()
    sys.setswitchinterval(1000)  # seconds: Python takes the GIL from no one meanwhile
    try:
        go.release()
        for _ in range(500):
            first_broken(data, places)
            if ran.is_set():
                break
        assert ran.is_set()
    finally:
        sys.setswitchinterval(interval)
        thread.join()


def seal_of(payload: bytes) -> bytes:
    """Not a true seal, but as long."""
    return payload + bytes(CRC_BYTES)


@pytest.mark.parametrize(
    "lengths", [(2, 98), (0, 100), (2**63, 2**63, 100), (2**64 - 50, 150), (100, 2**64 - 1)], ids=str
)
def test_an_index_that_is_sealed_but_no_index_reads_nothing_outside_the_file(
    tmp_path: Path, lengths: tuple[int, ...]
) -> None:
    ends = [sum(lengths[:number]) % 2**64 for number in range(len(lengths))]
    index = np.array([ends, lengths], np.uint64).T
    path = tmp_path / "shard"
    path.write_bytes(bytes(100) + seal(index.astype("<u8").tobytes()))
    with pytest.raises(Damaged, match=r"a label: (chunk 0 fails|the shard's chunks do not fill)"):
        Shard(path, "label", (32 * len(lengths), 1, 1), np.uint8, "a label").verify()


VERIFY = """
import sys
import dmapsvc.store
from dmapsvc.store.checksum import seal, unseal
assert unseal(memoryview(seal(b"a"))) == b"a"
print(sorted({"numba", "llvmlite", "torch"} & sys.modules.keys()))
"""


def test_verifying_needs_no_compiler() -> None:
    run = subprocess.run([sys.executable, "-c", VERIFY], check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["[]"]
