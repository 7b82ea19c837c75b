"""Datasets: make, list, one, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from api.dependencies import DatasetName, JobsOf, LibraryOf
from api.models import DatasetBody, DatasetList, DatasetWanted, Spec
from api.problems import responses
from api.smallbody import SmallBody
from api.specs import is_unused, spec_conflict
from dmapsvc.errors import BadName, BadSpec, Conflict, DiskFull, NotFound, TooLarge
from dmapsvc.spec import MapSpec
from dmapsvc.store import Reader

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=SmallBody)


@router.put(
    "/{dataset}",
    summary="Make a dataset",
    responses={
        201: {"description": "It was made.", "model": DatasetBody},
        **responses(BadName, BadSpec, Conflict, TooLarge, DiskFull),
    },
)
def put_dataset(
    dataset: DatasetName,
    wanted: Annotated[DatasetWanted, Body()],
    response: Response,
    library: LibraryOf,
    jobs: JobsOf,
) -> DatasetBody:
    """Make a dataset with a spec and names; the same again changes nothing.

    Another spec is taken while nothing is published or queued under the first.
    """
    spec = MapSpec.from_json(wanted.spec.model_dump())
    with library.changing(dataset):
        before = library.find(dataset)
        if before is not None and before.spec != spec and not is_unused(before, jobs):
            raise spec_conflict(before, spec)
        made = library.create(dataset, spec, wanted.names)
    response.status_code = 201 if before is None else 200
    return _body(made)


@router.get("", summary="List datasets")
def list_datasets(library: LibraryOf) -> DatasetList:
    """Every dataset, sorted by name."""
    return DatasetList(datasets=[_body(dataset) for dataset in library.datasets()])


@router.get("/{dataset}", summary="One dataset", responses=responses(BadName, NotFound))
def get_dataset(dataset: DatasetName, library: LibraryOf) -> DatasetBody:
    """A dataset: its spec, label names, number of cases, and where its Zarr group is."""
    return _body(library.read(dataset))


@router.delete(
    "/{dataset}", status_code=204, summary="Delete a dataset", responses=responses(BadName, NotFound)
)
def delete_dataset(dataset: DatasetName, library: LibraryOf, jobs: JobsOf) -> None:
    """Cancel the jobs of a dataset and remove its arrays, uploads and records. There is no way back."""
    with library.changing(dataset):
        doomed = library.open(dataset)
        jobs.forget(dataset)
        doomed.destroy()


def _body(dataset: Reader) -> DatasetBody:
    return DatasetBody(
        name=dataset.name,
        spec=Spec.model_validate(dataset.spec.to_json()),
        names=dataset.names,
        cases=len(dataset.cases()),
        zarr=f"/zarr/{dataset.name}.zarr",
    )
