"""A real service for as long as a `with` block lasts: `python -m api` and `python -m worker` over a folder.

The demo, the benchmarks and the tests stand on it. To keep a service running, use `make serve`. Only
processes that were started here are ended here, and they end by themselves when this process does, however
that happens (`leash.py`).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Literal

import httpx

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60.0  # seconds until a process counts as hung; a start takes two or three

Part = Literal["api", "worker"]
PARTS: tuple[Part, ...] = ("api", "worker")


class Service:
    """The processes of a service over the folder `data`; a context manager that starts `parts` and ends all.

    `settings` are those of `dmapsvc.settings` by name: `Service(folder, max_body=1000)`. A part that is
    started again after `stop` or `kill9` has the same address and data. What the processes say is in
    `<data>/<part>.log`.
    """

    def __init__(self, data: Path, parts: tuple[Part, ...] = PARTS, **settings: object) -> None:
        self.data = data
        self.url = ""
        self._parts = parts
        self._port = 0
        self._settings = settings
        self._processes: dict[Part, subprocess.Popen[bytes]] = {}
        data.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Service:
        try:
            for part in self._parts:
                self.start(part)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, part: Part) -> None:
        """Start a part; the API is ready to answer when this returns."""
        assert part not in self._processes, f"{part} runs already"
        begin = self._log(part).stat().st_size if self._log(part).exists() else 0
        with self._log(part).open("ab") as log:
            self._processes[part] = subprocess.Popen(
                [sys.executable, "-m", "demo.leash", part],
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.PIPE,  # the leash: nothing is ever written
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that a worker's child can be ended with it
            )
        if part == "api":
            self._await_api(begin)

    def stop(self, part: Part) -> int:
        """End a part as a supervisor would, by SIGTERM; its exit status."""
        process = self._processes.pop(part)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(PATIENCE)
        finally:
            _kill_group(process)

    def kill9(self, part: Part) -> None:
        """End a part and its children at once, by SIGKILL."""
        _kill_group(self._processes.pop(part))

    def process(self, part: Part) -> subprocess.Popen[bytes]:
        """The process of a part that runs."""
        return self._processes[part]

    def log(self, part: Part) -> str:
        """All that a part has said so far."""
        return self._log(part).read_text(errors="replace")

    def close(self) -> None:
        """End every part that still runs."""
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                pass
            finally:
                _kill_group(process)
        self._processes.clear()

    def _log(self, part: Part) -> Path:
        return self.data / f"{part}.log"

    def _environment(self) -> dict[str, str]:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("DMAPSVC_")}
        given = {f"DMAPSVC_{name.upper()}": str(value) for name, value in self._settings.items()}
        return {
            **outside,
            **given,
            "DMAPSVC_DATA": str(self.data),
            "DMAPSVC_HOST": "127.0.0.1",
            "DMAPSVC_PORT": str(self._port),
            "PYTHONUNBUFFERED": "1",
        }

    def _await_api(self, begin: int) -> None:
        """Wait for the line that names the address, from `begin` in the log, then for an answer there."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            said = self._log("api").read_bytes()[begin:].decode(errors="replace")
            if self._processes["api"].poll() is not None:
                raise RuntimeError(f"the API ended:\n{said}")
            if match := re.search(r"http://127\.0\.0\.1:(\d+)", said):
                self._port = int(match[1])
                self.url = match[0]
                if _answers(self.url):
                    return
            time.sleep(0.02)
        raise RuntimeError(f"the API does not answer:\n{said}")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    assert process.stdin is not None
    process.stdin.close()
