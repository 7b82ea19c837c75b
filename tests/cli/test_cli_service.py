"""The commands that talk to a service, against a real one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from demo.service import Service
from dmapsvc.client import Client
from dmapsvc.spec import MapSpec
from tests.cli.cli_run import Run
from tests.cli.conftest import save_nifti


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for this file; each test has a dataset of its own."""
    with Service(tmp_path_factory.mktemp("service"), device="scipy") as running:
        yield running


@pytest.fixture
def at(cli: Callable[..., Run], service: Service, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """The program, which knows the service by its environment."""

    def run(*arguments: object) -> Run:
        monkeypatch.setenv("DMAPSVC_SERVER", service.url)
        return cli(*arguments)

    return run


@pytest.fixture
def knees(at: Callable[..., Run], service: Service, masks: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a dataset with the cases a, b and sub__c, and images for the first two."""
    name = request.node.name.replace("_", "-")
    run = at(
        "submit", masks, "--dataset", name, "--images", masks.parent / "images", "--labels", "5,6", "--wait"
    )
    assert run.code == 0, run.err
    return f"{service.url}/v1/datasets/{name}"


def test_submit_waits_and_shows_what_came_of_it(at: Callable[..., Run], masks: Path) -> None:
    arguments = ("submit", masks, "--dataset", "waited", "--labels", "5,6", "--wait")
    run = at(*arguments)
    assert run.code == 0, run.err
    header, *rows, counts = run.out.splitlines()
    assert header.split() == [
        "case",
        "state",
        "largest",
        "distances",
        "(voxels)",
        "seconds",
        "backend",
        "job",
    ]
    assert counts == "waited: 3 files done, 0 there already, 0 failed"
    assert [row.split()[:2] for row in rows] == [["a", "done"], ["b", "done"], ["sub__c", "done"]]
    assert all("5: 3" in row and "read " in row and "publish " in row and "scipy" in row for row in rows)
    assert "\x1b" not in run.out + run.err

    again = at(*arguments)
    assert again.code == 0
    assert again.out.splitlines() == [header, *rows, "waited: 0 files done, 3 there already, 0 failed"]


def test_submit_without_wait_says_where_the_jobs_are(at: Callable[..., Run], masks: Path) -> None:
    run = at("submit", masks / "a.nii.gz", "--dataset", "left")
    assert run.code == 0, run.err
    row = run.out.splitlines()[1].split()
    assert row[0] == "a"
    watched = at("jobs", row[-1], "--watch")
    assert watched.code == 0
    fields = dict(line.split(maxsplit=1) for line in watched.out.splitlines())
    assert (fields["dataset"], fields["state"], fields["file"]) == ("left", "done", "a.nii.gz")
    assert fields["job"].startswith(row[-1])
    assert at("jobs", "--dataset", "left").out.splitlines()[1].split()[:5] == [
        row[-1],
        "left",
        "a",
        "mask",
        "done",
    ]


def test_a_single_refused_file_is_bad_input(at: Callable[..., Run], tmp_path: Path) -> None:
    junk = tmp_path / "junk.nii.gz"
    junk.write_text("no volume")
    run = at("submit", junk, "--dataset", "refused")
    assert run.code == 2
    assert "junk.nii.gz" in run.error


def test_one_refused_file_and_one_failed_job_do_not_stop_the_others(
    at: Callable[..., Run], masks: Path
) -> None:
    (masks / "junk.nii.gz").write_text("no volume")
    save_nifti(masks / "half.nii.gz", np.full((8, 8, 8), 1.5, np.float32))
    run = at("submit", masks, "--dataset", "mixed", "--wait")
    assert run.code == 1
    *table, counts = run.out.splitlines()
    states = dict(row.split()[:2] for row in table)
    assert states["junk"] == "refused"
    assert counts == "mixed: 3 files done, 0 there already, 2 failed"
    assert states["a"] == states["b"] == states["sub__c"] == "done"
    errors = [line for line in run.err.splitlines() if line.startswith("error: ")]
    assert sorted(error.split()[1] for error in errors) == ["half:", "junk:"]
    assert any("1.5" in error for error in errors)


def test_a_failed_job_says_why(at: Callable[..., Run], tmp_path: Path) -> None:
    save_nifti(tmp_path / "half.nii.gz", np.full((8, 8, 8), 1.5, np.float32))
    run = at("submit", tmp_path / "half.nii.gz", "--dataset", "halves", "--wait")
    assert run.code in (1, 2)  # 2 where the header alone gives it away
    assert "1.5" in run.err or "whole" in run.err


def test_another_mask_is_refused_and_with_replace_taken(at: Callable[..., Run], masks: Path) -> None:
    mask = masks / "a.nii.gz"
    assert at("submit", mask, "--dataset", "other", "--wait").code == 0
    save_nifti(mask, np.pad(np.ones((4, 4, 4), np.uint8), 2))
    refused = at("submit", mask, "--dataset", "other", "--wait")
    assert refused.code == 2
    assert "replace" in refused.error
    assert at("submit", mask, "--dataset", "other", "--wait", "--replace").code == 0


def test_what_is_left_out_of_the_spec_is_the_datasets(
    at: Callable[..., Run], masks: Path, service: Service
) -> None:
    mask = masks / "a.nii.gz"
    first = at("submit", mask, "--dataset", "mm", "--labels", "5", "--units", "mm", "--wait")
    assert "largest distances (mm)" in first.out
    for part in (("--labels", "5"), ("--units", "mm"), ("--names", "5=femur")):
        run = at("submit", mask, "--dataset", "mm", *part)
        assert run.code == 0, run.err
    assert at("submit", mask, "--dataset", "mm", "--labels", "6").code == 2
    info = json.loads(at("info", f"{service.url}/v1/datasets/mm", "--json").out)
    assert (info["spec"], info["names"]) == ({"labels": [5], "units": "mm"}, {"5": "femur"})


def test_names_go_with_a_new_dataset(at: Callable[..., Run], masks: Path, service: Service) -> None:
    options = ("--labels", "6,5", "--names", "5=femur,6=tibia")
    assert at("submit", masks / "a.nii.gz", "--dataset", "named", *options).code == 0
    info = json.loads(at("info", f"{service.url}/v1/datasets/named", "--json").out)
    assert info["spec"]["labels"] == [6, 5]
    assert info["names"] == {"5": "femur", "6": "tibia"}


def test_the_right_image_takes_the_place_of_a_wrong_one_that_keeps_its_mask_out(
    at: Callable[..., Run], masks: Path, service: Service, tmp_path: Path
) -> None:
    wrong = np.zeros((4, 4, 4), np.int16)
    with Client(service.url) as client:
        client.create_dataset("held", MapSpec())
        save_nifti(tmp_path / "wrong.nii.gz", wrong)
        job = client.wait(client.put_image("held", "a", tmp_path / "wrong.nii.gz").id)
    assert job.state == "done"
    alone = at("submit", masks / "a.nii.gz", "--dataset", "held")
    assert alone.code == 2
    both = at(
        "submit", masks / "a.nii.gz", "--images", masks.parent / "images", "--dataset", "held", "--wait"
    )
    assert both.code == 0, both.err
    assert both.out.splitlines()[-1] == "held: 2 files done, 0 there already, 0 failed"


def test_info_of_a_service_a_dataset_and_a_case(at: Callable[..., Run], service: Service, knees: str) -> None:
    name = knees.rpartition("/")[2]
    listed = at("info", service.url)
    assert [name, "5,6", "voxel", "3"] in [row.split() for row in listed.out.splitlines()]
    assert name in [data["name"] for data in json.loads(at("info", service.url, "--json").out)]

    dataset = at("info", knees)
    assert dataset.code == 0, dataset.err
    rows = [row.split() for row in dataset.out.partition("\n\n")[2].splitlines()[1:]]
    assert [row[0] for row in rows] == ["a", "b", "sub__c"]

    case = json.loads(at("info", knees, "a", "--json").out)
    assert case["shape"] == [12, 20, 24]
    assert case["image"]["dtype"] == "int16"


def test_fetch_brings_phi_on_the_masks_grid_and_keeps_what_is_there(
    at: Callable[..., Run], masks: Path, knees: str, tmp_path: Path
) -> None:
    out = tmp_path / "maps"
    run = at("fetch", knees, "-o", out)
    assert (run.code, run.out) == (0, "3 fetched\n"), run.err
    assert sorted(file.name for file in out.iterdir()) == [
        f"{case}_phi.nii.gz" for case in ("a", "b", "sub__c")
    ]
    mask, phi = (nib.Nifti1Image.from_filename(file) for file in (masks / "a.nii.gz", out / "a_phi.nii.gz"))
    assert phi.shape == mask.shape
    assert np.allclose(phi.affine, mask.affine)

    (out / "b_phi.nii.gz").unlink()
    assert at("fetch", knees, "-o", out).out == "1 fetched, 2 were there already\n"

    single = at("fetch", knees, "b", "-o", tmp_path / "phi.nii.gz")
    assert single.code == 0
    assert (tmp_path / "phi.nii.gz").read_bytes() == (out / "b_phi.nii.gz").read_bytes()
    several = at("fetch", knees, "-o", tmp_path / "phi.nii.gz")
    assert several.code == 2
    assert "folder" in several.error


def test_view_of_a_case_behind_a_url(at: Callable[..., Run], knees: str, tmp_path: Path) -> None:
    run = at("view", knees, "a", "-o", tmp_path / "a.png")
    assert (run.code, run.err) == (0, "")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "{url}/v1/datasets/unknown"],
        ["fetch", "{url}/v1/datasets/unknown"],
        ["view", "{url}/v1/datasets/unknown", "a", "-o", "a.png"],
        ["jobs", "0" * 64],
        ["jobs", "0" * 12],
        ["jobs", "--state", "sleeping"],
        ["submit", "{masks}", "--dataset", "a/b"],
    ],
)
def test_what_the_service_does_not_have_is_one_line_and_exit_code_2(
    at: Callable[..., Run], service: Service, masks: Path, arguments: list[str]
) -> None:
    run = at(*[argument.format(url=service.url, masks=masks / "a.nii.gz") for argument in arguments])
    assert run.code == 2
    assert run.error.startswith("error: ")
    assert "GET " not in run.error
    assert (f"`dmapsvc info {service.url}` lists them" in run.error) == ("unknown" in run.error)


def test_cancel_retry_and_ctrl_c_with_no_worker(
    cli: Callable[..., Run], masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a worker jobs stay queued: what is stopped here goes on there."""
    with Service(tmp_path / "data", parts=("api",)) as api:
        monkeypatch.setenv("DMAPSVC_SERVER", api.url)
        command = [sys.executable, "-m", "dmapsvc", "submit", str(masks), "--dataset", "knees", "--wait"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            said = [process.stderr.readline() for _ in range(3)]
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=30)[1]
        assert said == ["a: queued\n", "b: queued\n", "sub__c: queued\n"]
        assert process.returncode == 130
        assert (
            f"3 jobs not ended: the service goes on; see `dmapsvc jobs --server {api.url} --dataset knees`"
            in rest
        )
        assert "Traceback" not in rest

        rows = [row.split() for row in cli("jobs", "--state", "queued").out.splitlines()[1:]]
        assert sorted(row[2] for row in rows) == ["a", "b", "sub__c"]
        job = rows[0][0]
        assert "cancelled" in cli("jobs", job, "--cancel").out
        assert [row.split()[0] for row in cli("jobs", "--state", "cancelled").out.splitlines()[1:]] == [job]
        assert "nothing was cancelled: the job is cancelled" in cli("jobs", job, "--cancel").err
        retried = cli("jobs", job, "--retry")
        assert retried.code == 0
        assert "queued" in retried.out  # from the upload, which a cancelled job keeps


def test_workers_are_listed(at: Callable[..., Run]) -> None:
    run = at("workers")
    assert run.code == 0, run.err
    header, row = run.out.splitlines()
    assert header.split() == [
        "host",
        "pid",
        "version",
        "backend",
        "device",
        "memory",
        "jobs",
        "since",
        "state",
    ]
    assert {"scipy", "CPU", "0/2", "here"} <= set(row.split())


def test_a_service_without_workers_says_what_that_means(cli: Callable[..., Run], tmp_path: Path) -> None:
    with Service(tmp_path / "alone", ("api",)) as alone:
        run = cli("workers", "--server", alone.url)
    assert (run.code, run.out) == (0, "")
    assert "jobs wait" in run.err
