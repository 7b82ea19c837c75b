"""`python -m api` as a process: its start, what it refuses to start with, and what it cleans up."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from api.__main__ import _listen
from demo.service import ROOT, Service
from tests.api.bodies import nifti, two_balls
from tests.api.talk import Talk


def run_api(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    given = {f"DMAPSVC_{name.upper()}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        cwd=ROOT,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_one_line(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2, result
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr


def test_help_names_the_settings() -> None:
    result = run_api("--help")
    assert result.returncode == 0
    assert "DMAPSVC_PORT" in result.stdout


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_api(data=tmp_path, port=port)
    assert_one_line(result, f"127.0.0.1:{port}", "DMAPSVC_PORT")


def test_a_bad_setting_is_one_line(tmp_path: Path) -> None:
    assert_one_line(run_api(data=tmp_path, max_body="much"), "DMAPSVC_MAX_BODY", "much")


def test_a_service_for_strangers_without_keys_is_one_line(tmp_path: Path) -> None:
    assert_one_line(run_api(data=tmp_path, host="0.0.0.0", port=0), "dmapsvc keys new", "0.0.0.0")
    assert not list(tmp_path.iterdir())


def test_a_data_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_one_line(run_api(data=tmp_path / "file"), "file")


def test_importing_the_api_stays_light() -> None:
    heavy = "('numba', 'torch', 'matplotlib', 'worker')"
    code = f"import api.app, sys; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.strip() == "[]"


def test_after_kill_9_jobs_are_there_and_broken_uploads_are_gone(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with Service(tmp_path, ("api",)) as service:
        address = f"{service.url}/v1/datasets/d/cases/a/mask"
        answer = httpx.put(address, content=nifti(two_balls()), trust_env=False)
        kept = set(spool.iterdir())
        service.kill9("api")
        (spool / "dead.part").write_bytes(b"x")
        with (spool / "alive.part").open("xb") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)
            service.start("api")
            assert set(spool.iterdir()) == {*kept, spool / "alive.part"}
        job = httpx.get(service.url + answer.headers["location"], trust_env=False).json()
        assert job["state"] == "queued"
        assert service.stop("api") == 0
        assert "Traceback" not in service.log("api")


def test_the_health_check_of_the_image_heeds_no_proxy(talk: Talk) -> None:
    lines = (ROOT / "docker/Dockerfile").read_text().splitlines()
    command = next(line for line in lines if line.startswith("HEALTHCHECK")).partition("CMD ")[2]
    _, option, code = json.loads(command)
    code = code.replace("http://127.0.0.1:8000", talk.service.url)
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    for said, status in ((code, 0), (code.replace("readyz", "nothing"), 1)):
        check = [sys.executable, option, said]
        result = subprocess.run(check, env=environment, capture_output=True, timeout=60, check=False)
        assert result.returncode == status, result


def test_stopping_ends_those_who_wait(tmp_path: Path) -> None:
    with Service(tmp_path, ("api",)) as service:
        http = httpx.Client(base_url=service.url, trust_env=False)
        answer = http.put("/v1/datasets/d/cases/a/mask", content=nifti(two_balls()))
        with http.stream("GET", f"{answer.headers['location']}/events") as events:
            next(events.iter_lines())
            assert service.stop("api") == 0


def test_small_answers_are_sent_at_once() -> None:
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_upload_that_a_stop_cuts_short_is_asked_for_again(tmp_path: Path) -> None:
    with Service(tmp_path, ("api",)) as service:
        host, _, port = service.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as sender:
            head = f"PUT /v1/datasets/d/cases/a/mask HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9000\r\n\r\n"
            sender.sendall(head.encode() + b"a part")
            end = time.monotonic() + 60
            while not list((tmp_path / "spool").iterdir()):
                assert time.monotonic() < end
                time.sleep(0.01)
            assert service.stop("api") == 0
            answer = sender.makefile("rb").read().decode().lower()
        assert "503 service unavailable" in answer
        assert "retry-after" in answer
        assert not list((tmp_path / "spool").iterdir())
        assert "Traceback" not in service.log("api")
