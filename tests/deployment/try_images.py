"""`make try-images`: the very commands of the images, in a clean virtual environment in place of an engine.

What the image `built` installs is installed; api and worker start as their images start them, with their
environment; their health checks must pass; a mask goes through. The GPU worker's packages are only resolved.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deployment.dockerfile import ROOT, Stage, read_stages

PATIENCE = 600.0  # seconds until a part must be healthy; a worker compiles its kernels first

_MASK = """
import io, sys, numpy as np
mask = np.zeros((32, 32, 32), np.uint8); mask[8:20, 8:20, 8:24] = 3
file = io.BytesIO(); np.save(file, mask); sys.stdout.buffer.write(file.getvalue())
"""


def main() -> None:
    """Try the images of the CPU; raises CalledProcessError or AssertionError."""
    stages = read_stages()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        install(stages["built"], home)
        resolve(stages["built-gpu"], home)
        for name in ("api", "worker"):
            copy_sources(stages[name], home / "opt" / name)
        environment = {"DMAPSVC_DATA": str(home / "data")}
        for name in ("NUMBA_CACHE_DIR", "CUPY_CACHE_DIR", "MPLCONFIGDIR"):
            environment[name] = str(home / "caches" / name)
        key = say_key(home, environment)
        with running(stages["api"], home, environment), running(stages["worker"], home, environment):
            publish(home, key)
    print("api, worker: started, healthy, a mask published")


def install(stage: Stage, home: Path) -> None:
    """Run what the image runs to install, with the environment at another place."""
    source = home / "src"
    copy_sources(stage, source)
    make, pip = stage.all("RUN")[0].split(" && ")
    assert make == "python -m venv /opt/venv"
    subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
    run([home / "venv" / "bin" / "python", "-m", *shlex.split(pip)], source)


def resolve(stage: Stage, home: Path) -> None:
    """Have pip find what the GPU worker's image installs, and install none of it."""
    source = home / "src"
    copy_sources(stage, source)
    pip = shlex.split(stage.all("RUN")[-1])
    run([home / "venv" / "bin" / "python", "-m", *pip, "--dry-run"], source)


def copy_sources(stage: Stage, target: Path) -> None:
    """What COPY takes from the checkout."""
    target.mkdir(parents=True, exist_ok=True)
    for line in stage.all("COPY"):
        *names, place = line.split()
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target / place, dirs_exist_ok=True)
            elif not line.startswith("--from"):
                shutil.copy(ROOT / name, target / place)


def say_key(home: Path, environment: dict[str, str]) -> str:
    """A key for all that is to be done, made as the docs say."""
    command = [str(home / "venv" / "bin" / "dmapsvc"), "keys", "new", "trial", "--scope", "write"]
    made = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return str(made.stdout.split()[-1])


@contextmanager
def running(stage: Stage, home: Path, environment: dict[str, str]) -> Iterator[None]:
    """The process of an image for the block, from the moment its health check passes."""
    path = f"{home / 'venv' / 'bin'}:{os.environ['PATH']}"
    nobodys = home / "home"  # nothing is to be kept there: in an image it is read-only
    nobodys.mkdir(mode=0o500, exist_ok=True)
    whole = {**stage.environment(), **environment, "PATH": path, "HOME": str(nobodys)}
    log = home / f"{stage.name}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            stage.command(), cwd=home / "opt" / stage.name, env=whole, stdout=said, stderr=said
        )
    try:
        await_healthy(stage, whole, process, log)
        yield
    finally:
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
    assert not list(nobodys.iterdir()), "something was kept in the home folder"


def await_healthy(
    stage: Stage, environment: dict[str, str], process: subprocess.Popen[bytes], log: Path
) -> None:
    """Run the image's health check until it passes."""
    end = time.monotonic() + PATIENCE
    while subprocess.run(stage.health(), env=environment, capture_output=True).returncode:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.5)
    print(f"{stage.name}: healthy", flush=True)


def publish(home: Path, key: str) -> None:
    """Upload a mask and wait for its map."""
    mask = subprocess.run(
        [home / "venv" / "bin" / "python", "-c", _MASK], capture_output=True, check=True
    ).stdout
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"Authorization": f"Bearer {key}"}
    address = "http://127.0.0.1:8000"
    put = urllib.request.Request(
        f"{address}/v1/datasets/trial/cases/a/mask", io.BytesIO(mask), headers, method="PUT"
    )
    put.add_header("Content-Length", str(len(mask)))
    with opener.open(put) as answer:
        job = answer.headers["location"]
    asked = urllib.request.Request(f"{address}{job}?wait=60", headers=headers)
    with opener.open(asked) as answer:
        told = answer.read().decode()
    assert '"done"' in told, told


def run(command: list[object], folder: Path) -> None:
    """Run a command that must succeed; what it says is shown if it does not."""
    done = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    main()
