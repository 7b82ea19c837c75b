"""The main job in one go: masks over HTTP, Φ as Zarr, a figure, a network trained on patches from the
service, and what it makes of a knee that it has not seen, scored.

Everything it does can be done by hand with the `dmapsvc` command or the client; it ends by saying how.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType

from demo import cases, phantom
from demo.service import Service
from dmapsvc.cli.output import Meter, print_table, region_maxima, seconds_by_stage
from dmapsvc.cli.train_view import TrainView
from dmapsvc.client import Client
from dmapsvc.errors import Conflict, DmapsvcError
from dmapsvc.jobs import Job, Kind, State
from dmapsvc.pipeline import CaseFile
from dmapsvc.spec import MapSpec

DATASET = "knees"
MARK = "made-by-demo.txt"  # so that only folders of a demo are ever replaced
OVERLAP = 0.25  # of the windows of a prediction; by half, as is usual, takes more than twice as long


def main() -> int:
    """Run the demo on the command line's arguments; the exit code."""
    arguments = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stop)
    try:
        _run(arguments)
    except DmapsvcError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 2 if error.permanent else 1
    except (RuntimeError, OSError) as error:  # the service did not start, and says why; a full disk
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        print("stopped; nothing runs on", file=sys.stderr)
        return 128 + (stopped.args[0] if stopped.args else signal.SIGINT)
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    """End as by Ctrl-C, so that the service ends too."""
    signal.signal(number, signal.SIG_IGN)  # once is enough
    raise KeyboardInterrupt(number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--data", help="a folder or pattern of label files; left out: generated knees")
    parser.add_argument(
        "--labels", help="values that are classes, like 5,6,7; left out: every non-zero value"
    )
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder for everything it makes")
    parser.add_argument("--steps", type=int, default=600, help="training steps (default: %(default)s)")
    return parser.parse_args()


def _run(arguments: argparse.Namespace) -> None:
    spec = MapSpec.parse(arguments.labels)
    out = _emptied(arguments.out)
    with tempfile.TemporaryDirectory() as folder:
        found, names = _input(arguments.data, Path(folder))
        with Service((out / "data").resolve()) as service, Client(service.url) as client:
            _say(f"The service runs at {service.url}; its data are in {service.data}")
            client.create_dataset(DATASET, spec, names)
            jobs = _upload(client, found)
            _show(client, _await_jobs(client, jobs), names)
            location = f"{service.url}/v1/datasets/{DATASET}"
            _draw(location, out / "phi.png")
            _train(location, out, [case.case for case in found], arguments.steps)
            _predict(location, out, found[-1].case)
            _score(location, out)
            if len(found) == 1:
                _say("One mask: the network was trained on this very case, so the scores are of no other")
    _say_what_next(out / "data" / "store" / f"{DATASET}.zarr", found[0].case)


def _emptied(out: Path) -> Path:
    """The folder `out`, new; what an earlier demo left there is kept beside it.

    Raises Conflict for a folder that no demo has made.
    """
    previous = out.parent / f"{out.name}.previous"
    for folder in (out, previous):
        if folder.exists() and not (folder / MARK).exists():
            raise Conflict(f"{folder} was not made by a demo", remedy="Choose another folder with --out")
    if out.exists():
        shutil.rmtree(previous, ignore_errors=True)
        out.rename(previous)
        _say(f"What the last demo made is in {previous} now")
    out.mkdir(parents=True)
    (out / MARK).write_text("Made by `make demo`, which replaces this folder when it is run again.\n")
    return out


def _input(data: str | None, folder: Path) -> tuple[list[CaseFile], dict[int, str]]:
    """The files to upload, and the names of their labels."""
    if data is None:
        _say(f"Generating {cases.KNEES} knee-like volumes with three bones each, and their images")
        return _shown("generating", cases.generated(folder), cases.KNEES), phantom.NAMES
    found = cases.given(data)
    _say("The label files come without images: drawing MR-like ones from the labels, for this demo only")
    return _shown("drawing", cases.rendered(found, folder), len(found)), {}


def _shown(what: str, files: Iterable[CaseFile], total: int) -> list[CaseFile]:
    """All of `files`, with progress while they are made."""
    made: list[CaseFile] = []
    with Meter(what, total, "cases") as meter:
        meter.show(0)
        for case in files:
            made.append(case)
            meter.show(len(made), case.case)
    return made


def _upload(client: Client, files: Sequence[CaseFile]) -> list[Job]:
    paths = [path for case in files for path in (case.mask, case.image) if path is not None]
    jobs = []
    sent = 0
    with Meter("uploading", sum(path.stat().st_size for path in paths), "B") as meter:

        def show(block: int) -> None:
            nonlocal sent
            sent += block
            meter.show(sent)

        for case in files:
            jobs.append(client.put_mask(DATASET, case.case, case.mask, progress=show))
            if case.image is not None:
                jobs.append(client.put_image(DATASET, case.case, case.image, progress=show))
    return jobs


def _await_jobs(client: Client, jobs: Sequence[Job]) -> list[Job]:
    ended: list[Job] = []
    with Meter("computing", len(jobs), "jobs") as meter:
        for number, job in enumerate(jobs):

            def show(now: Job, number: int = number) -> None:
                meter.show(number + now.percent / 100, f"{now.case} {now.stage or now.state}")

            ended.append(client.wait(job.id, progress=show))
    for job in ended:
        if job.state is not State.DONE:
            reason = job.problem.detail if job.problem else job.state
            raise DmapsvcError(f"{job.case} ({job.filename}): {reason}")
    return ended


def _show(client: Client, jobs: Sequence[Job], names: dict[int, str]) -> None:
    rows: list[list[object]] = []
    for job in jobs:
        seconds = seconds_by_stage(job.seconds)
        if job.kind is Kind.IMAGE:
            rows.append([job.case, job.kind, "", seconds, ""])
            continue
        record = client.case(DATASET, job.case)
        maxima = region_maxima(record["regions"], names)
        rows.append([job.case, job.kind, maxima, seconds, job.backend])
    print_table(["case", "kind", "largest distances (voxels)", "seconds by stage", "backend"], rows)
    for note in [f"{job.case}: {note}" for job in jobs if job.kind is Kind.MASK for note in job.notes]:
        _say(f"  {note}")


def _draw(location: str, path: Path) -> None:
    from dmapsvc import open_dataset
    from dmapsvc.figures import case_figure, figure_png

    dataset = open_dataset(location)
    path.write_bytes(figure_png(case_figure(dataset.case(dataset.cases()[0]), names=dataset.names)))
    _say(f"Mask beside Φ, as in the paper's Figure 1: {path}")


def _train(location: str, out: Path, names: Sequence[str], steps: int) -> None:
    """Train on all cases but the last, which is kept for the test; on a single one, if there are no others.

    Nothing is validated: there is one training, and its end is what is used.
    """
    from dmapsvc.train import TrainSettings, train
    from dmapsvc.train.split import Split

    Split(train=tuple(names[:-1] or names), test=tuple(names[1:][-1:])).write(out / "split.json")
    settings = TrainSettings(
        location=location,
        out=out / "run",
        split=out / "split.json",
        net="monai-unet",
        width=8,
        patch=(32, 64, 64),
        steps=steps,
        lr=5e-3,
        schedule="cosine",
    )
    with Meter("training", steps, "steps", rate=False, steady=True) as meter:
        view = TrainView(meter, settings)
        train(settings, view.step)
    _say(f"A small U-Net, trained on patches streamed from the service: {settings.out} ({view.ended()})")


def _predict(location: str, out: Path, case: str) -> None:
    from dmapsvc.train.predictions import predict

    with Meter("predicting", 100, "%", rate=False) as meter:
        meter.show(0, case)
        ended = predict(
            out / "run",
            location,
            out / "predictions",
            cases=[case],
            checkpoint="last",
            overlap=OVERLAP,
            on_progress=lambda done, total, case: meter.show(100 * done / total, case),
        )
    for _, problem in ended.failed:
        raise DmapsvcError(problem.detail)


def _score(location: str, out: Path) -> None:
    from dmapsvc.evaluate.evaluation import evaluate
    from dmapsvc.evaluate.scores import write_scores

    found = evaluate(location, out / "predictions", jobs=1)
    for failed in found.failed:
        raise DmapsvcError(f"{failed.case}: {failed.problem.detail}")
    write_scores(out / "scores.csv", found.scores)
    rows = [[one.case, one.name, one.g_dsc, one.b_dsc, one.asd, one.unit] for one in found.scores]
    print_table(["case", "label", "G-DSC (Dice)", "B-DSC", "mean surface distance", "in"], rows)
    _say(f"Label maps: {out / 'predictions'}; scores: {out / 'scores.csv'}")
    _say("So few steps and cases may leave the smallest label out altogether; with more --steps scores rise")


def _say_what_next(store: Path, case: str) -> None:
    _say(
        f"""
What to try next, after `. .venv/bin/activate`:
  dmapsvc info {store}
  dmapsvc check {store}
  dmapsvc view {store} {case} -o fig.png
  dmapsvc precompute LABELS_FOLDER maps.zarr --labels 5,6,7     your own masks, no server
  make serve                                                    the service, and then
  dmapsvc submit LABELS_FOLDER --dataset mine --labels 5,6,7 --wait
  dmapsvc train {store} -o run --net monai-unet --width 8 --patch 32,64,64 --lr 5e-3
  dmapsvc predict run {store} -o predictions
  dmapsvc evaluate {store} predictions -o scores.csv"""
    )


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
