"""The images and the compose file, as far as they hold without an engine. `make try-images` runs them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dmapsvc.settings import Settings
from tests.deployment.dockerfile import ROOT, read_stages

IMAGES = ("api", "worker", "worker-gpu")
STAGES = read_stages()
COMPOSE = ROOT / "docker-compose.yml"


def services() -> dict[str, Any]:
    """The services of the compose file."""
    return dict(YAML(typ="safe").load(COMPOSE)["services"])


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_pinned_runs_as_nobody_special_and_says_whether_it_is_well(image: str) -> None:
    stage = STAGES[image]
    first = STAGES["python"].base
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", first)
    assert stage.all("USER") == ["10001"]
    assert stage.health()[0] == "python"
    compile(stage.health()[2], "health", "exec")
    assert all(
        "-c constraints.txt" in line for name in ("built", "built-gpu") for line in STAGES[name].all("RUN")
    )


@pytest.mark.parametrize("image", IMAGES)
def test_what_an_image_sets_and_runs_exists(image: str) -> None:
    stage = STAGES[image]
    known = {f"DMAPSVC_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in stage.environment() if name.startswith("DMAPSVC_")} <= known
    caches = ("NUMBA_CACHE_DIR", "CUPY_CACHE_DIR", "MPLCONFIGDIR")
    assert all(stage.environment()[name].startswith("/tmp/") for name in caches), "the root is read-only"
    python, flag, module = stage.command()
    assert (python, flag) == ("python", "-m")
    assert importlib.util.find_spec(module)
    assert any(line.split()[0] == module for line in stage.all("COPY")), "its sources are in the image"


def test_the_gpu_packages_are_pinned_beside_the_others() -> None:
    pins = [
        line for line in (ROOT / "docker" / "constraints-gpu.txt").read_text().splitlines() if line[0] != "#"
    ]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", pin) for pin in pins)
    both = {pin.partition("==")[0] for pin in pins}
    assert {"cupy-cuda12x", "cucim-cu12"} <= both
    others = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert not both & others


def test_the_compose_file_is_one() -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(COMPOSE),
    ]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_each_profile_has_an_api_a_worker_and_postgres() -> None:
    by_profile = {
        profile: {name for name, service in services().items() if profile in service["profiles"]}
        for profile in ("cpu", "gpu")
    }
    assert by_profile == {
        "cpu": {"api", "worker", "database"},
        "gpu": {"api", "worker-gpu", "database"},
    }


def test_what_compose_builds_and_sets_exists() -> None:
    known = {f"DMAPSVC_{name.upper()}" for name in Settings.model_fields}
    for name, service in services().items():
        if "build" in service:
            assert service["build"]["target"] == name
            assert name in STAGES
            assert {key for key in service["environment"] if key.startswith("DMAPSVC_")} <= known
        else:
            assert re.fullmatch(r"postgres:\d+\.\d+-\w+", service["image"])


def test_compose_publishes_to_this_machine_alone_and_holds_no_secret() -> None:
    published = [port for service in services().values() for port in service.get("ports", ())]
    assert published == ["127.0.0.1:8000:8000"]
    assert all(
        "${POSTGRES_PASSWORD" in line for line in COMPOSE.read_text().splitlines() if "PASSWORD" in line
    )


def test_the_build_gets_all_that_it_copies() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        name
        for stage in STAGES.values()
        for line in stage.all("COPY")
        if not line.startswith("--from")
        for name in line.split()[:-1]
    }
    assert copied == allowed
    assert all(Path(ROOT, name).exists() for name in copied)
