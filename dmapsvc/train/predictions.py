"""A folder of predictions: label files that a run's network makes of images, one a case.

What becomes of one image is in `predictor.py`, where images come from in `images.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from dmapsvc.errors import BadInput, Conflict, DmapsvcError, NotFound, Problem
from dmapsvc.evaluate.cleaning import check_cleaning
from dmapsvc.evaluate.manifest import FILE, Manifest, read_manifest
from dmapsvc.listing import first_few
from dmapsvc.train.images import DatasetImages, Images, open_images
from dmapsvc.train.lock import alone_in
from dmapsvc.train.parallel import process_group
from dmapsvc.train.predict import OVERLAP, check_overlap
from dmapsvc.train.predictor import Predictor
from dmapsvc.train.runfolder import RunFolder, Which
from dmapsvc.train.settings import Device
from dmapsvc.train.split import SIDES, Split

SUFFIX = ".nii.gz"
_LOCK = ".predicting.lock"


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """How a prediction ended: the names of cases that were predicted now, or had been before, and why others
    could not be.
    """

    done: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[tuple[str, Problem], ...]


def predict(
    run: Path,
    location: str | Path,
    out: Path,
    *,
    cases: str | Sequence[str] | None = None,
    checkpoint: Which = "best",
    overlap: float = OVERLAP,
    closing: int = 0,
    components: int = 0,
    device: Device = "auto",
    replace: bool = False,
    on_case: Callable[[int, int, str], None] = lambda done, total, case: None,
    on_progress: Callable[[float, int, str], None] = lambda done, total, case: None,
) -> Predicted:
    """Predict label maps of the images at `location` with the network of the run folder `run`.

    `location`: a dataset, its URL, or a folder of image files. `cases`: names; or a side of the run's split,
    `train`, `valid` or `test`; or `all`. Left out, `test` of a dataset, and `all` of image files.
    `checkpoint`: the `best` or the `last` one. Windows are the patches that it was trained with; they
    `overlap` by so much. `closing`, `components`: what is mended afterwards (`cleaning.clean`).

    `out/<case>.nii.gz` has the labels of the training's dataset, on the grid of the case's mask (of the image
    where there is only that). Files that are there already are kept, unless `replace`: what was interrupted
    goes on. `out/predictions.json` says which cases the folder is to hold and what made them. `on_case` is
    called with how many are through, of how many, and which was the last; `on_progress` more often, with a
    part of the one that is under way counted too. A case that cannot be predicted is in `failed`, and the
    others are predicted.

    With `replace`, the files of the cases that are to be predicted go first, so that one which is there
    always is of the weights that `out/predictions.json` names. One process at a time predicts into a folder.

    Raises BadInput and BadFile for what is no run; what `open_images` raises; NotFound for a name that is no
    case; BadInput for cases that cannot be told, where nothing can be written, and for CUDA where there is
    none; Conflict if `out` has predictions that were made otherwise, or would keep some beside those that
    replace the others, or if another process predicts into it.
    """
    check_cleaning(closing=closing, components=components)
    check_overlap(overlap)
    if device not in get_args(Device):
        raise BadInput(f"device {device!r}", f"wanted one of {', '.join(get_args(Device))}")
    images = open_images(location)
    trained = RunFolder(run).checkpoint(checkpoint)
    wanted = _cases(cases, RunFolder(run), images)
    with process_group(device) as group:
        predictor = Predictor(trained, group.device, overlap=overlap, closing=closing, components=components)
        made = {"images": Path(images.name).name, **predictor.identity}
        with alone_in(out, what="prediction", file=_LOCK):
            _begin(out, Manifest(cases=tuple(wanted), made=made), replace=replace)
            missing = [case for case in wanted if not _file(out, case).exists()]
            skipped = tuple(case for case in wanted if case not in set(missing))
            images.prefetch(missing)
            failed: list[tuple[str, Problem]] = []
            for before, case in enumerate(missing, len(skipped)):
                tell = partial(_tell, on_progress, before, len(wanted), case)
                try:
                    predictor.predict(images, case, _file(out, case), tell)
                except DmapsvcError as error:
                    failed.append((case, error.problem))
                on_case(before + 1, len(wanted), case)
    lost = {case for case, _ in failed}
    done = tuple(case for case in missing if case not in lost)
    return Predicted(done=done, skipped=skipped, failed=tuple(failed))


def _tell(
    on_progress: Callable[[float, int, str], None], before: int, total: int, case: str, part: float
) -> None:
    on_progress(before + part, total, case)


def _cases(cases: str | Sequence[str] | None, run: RunFolder, images: Images) -> list[str]:
    if cases is None:
        cases = "test" if isinstance(images, DatasetImages) else "all"
    if cases == "all":
        return images.cases()
    if not isinstance(cases, str):
        return _known(set(cases), images)
    if cases not in SIDES:
        raise BadInput(f"cases {cases!r}", f"wanted names of cases, all, or one of {', '.join(SIDES)}")
    side: tuple[str, ...] = getattr(Split.read(run.split), cases)
    if not side:
        raise BadInput(f"{run.split}: no case is in {cases}", remedy="Name the cases, or take all")
    if not set(side) & set(images.cases()):
        raise NotFound(
            f"{images.name}: without the run's {cases} cases, {first_few(side)}",
            remedy="Name the dataset that it was trained on, or take all cases of this one",
        )
    return sorted(side)


def _known(cases: Collection[str], images: Images) -> list[str]:
    """The names, sorted; raises NotFound if there are no cases of some."""
    unknown = sorted(set(cases) - set(images.cases()))
    if unknown:
        raise NotFound(f"{images.name}: there is no case {first_few(unknown)}")
    return sorted(cases)


def _begin(out: Path, manifest: Manifest, *, replace: bool) -> None:
    """Write into the folder what it is to hold, and remove what is to be replaced."""
    asked, earlier = manifest.cases, read_manifest(out) or Manifest(cases=(), made=manifest.made)
    if replace and earlier.made != manifest.made:
        _check_all_replaced(out, [case for case in earlier.cases if case not in asked])
    else:
        manifest = manifest.joined(earlier, out)
    try:
        if replace:
            for case in asked:
                _file(out, case).unlink(missing_ok=True)
        _check_vacant(out, [case for case in asked if case not in earlier.cases])
        manifest.write(out)
    except OSError as error:
        raise BadInput(f"{out}: {error.strerror}", "wanted a folder", "Name another") from None


def _check_all_replaced(out: Path, others: Sequence[str]) -> None:
    """Raises Conflict if there are predictions of `others`, which would lie beside those of other weights."""
    there = [case for case in others if _file(out, case).exists()]
    if there:
        raise Conflict(
            f"{out}: holds predictions of {first_few(there)} that were made otherwise",
            "all in a folder are made alike",
            "Replace them too, remove their files, or name another folder",
        )


def _check_vacant(out: Path, cases: Sequence[str]) -> None:
    """Raises Conflict if there are files of `cases`, of which the folder says nothing."""
    there = [file for case in cases if (file := _file(out, case)).exists()]
    if there:
        raise Conflict(
            f"{there[0]}: is there already",
            f"{out / FILE} says nothing of it",
            "Name another folder, or replace it with --replace (`replace` in Python)",
        )


def _file(out: Path, case: str) -> Path:
    return out / f"{case}{SUFFIX}"
