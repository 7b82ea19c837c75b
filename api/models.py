"""The JSON that goes in and out, where it is not a record of the library itself.

They are what `/docs` tells a caller, so each field says what it holds. Arrays' axes are (z, y, x).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from dmapsvc.jobs import Job, Worker
from dmapsvc.jobs.batch import Batch
from dmapsvc.region import Region
from dmapsvc.spec import LARGEST_LABEL

Triple = tuple[float, float, float]
Affine = list[tuple[float, float, float, float]]
# A spec's labels are checked by MapSpec, whose words are better than a validator's.
AnyLabel = Annotated[Any, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": LARGEST_LABEL})]
Label = Annotated[int, Field(ge=1, le=LARGEST_LABEL)]
LabelName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Spec(BaseModel):
    """Which map is asked for."""

    model_config = ConfigDict(extra="forbid")

    labels: list[AnyLabel] | None = Field(
        None, description="Values that are classes, in the order of a network's; null: every one but 0."
    )
    units: str = Field("voxel", description="Distances in `voxel` or `mm`.")


class DatasetWanted(BaseModel):
    """A dataset to make."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"spec": {"labels": [5, 6, 7], "units": "voxel"}, "names": {"5": "femur"}}]
        },
    )

    spec: Spec = Field(default_factory=lambda: Spec())
    names: dict[Label, LabelName] = Field(default_factory=dict, description="Names of labels, by value.")


class DatasetBody(BaseModel):
    """A dataset."""

    name: str
    spec: Spec
    names: dict[int, str] = Field(description="Names of labels, by value.")
    cases: int = Field(description="How many cases are published.")
    zarr: str = Field(description="Path of its Zarr group on this server.", examples=["/zarr/knees.zarr"])


class DatasetList(BaseModel):
    """The datasets, sorted by name."""

    datasets: list[DatasetBody]


class CaseList(BaseModel):
    """A page of the published cases of a dataset, sorted."""

    cases: list[str]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class QuantisationBody(BaseModel):
    """How Φ is stored: Φ = stored · scale_factor + add_offset."""

    scale_factor: float
    add_offset: float
    max_error: float = Field(description="Largest error of a voxel, in the unit of Φ.")


class MomentsBody(BaseModel):
    """What the voxels of one channel are like, as they are stored."""

    mean: float
    deviation: float = Field(description="Standard deviation; 1 where every voxel is the same.")
    minimum: float
    maximum: float


class ImageBody(BaseModel):
    """The image of a case."""

    sha256: str
    shape: tuple[int, int, int]
    dtype: str
    channels: int
    moments: list[MomentsBody] = Field(description="One for each channel.")
    spacing: Triple | None = Field(description="mm (z, y, x).")
    affine: Affine | None = Field(description="(i, j, k, 1) to RAS+ mm.")


class CaseBody(BaseModel):
    """A published case."""

    name: str
    id: str = Field(description="Identity of the map; the id of the job that made it.")
    spec: Spec
    spec_hash: str
    map_version: int
    mask_sha256: str
    revision: int
    shape: tuple[int, int, int]
    spacing: Triple | None = Field(description="mm (z, y, x).")
    affine: Affine | None = Field(description="(i, j, k, 1) to RAS+ mm.")
    regions: list[Region]
    absent: list[int] = Field(description="Chosen labels that no voxel has.")
    backend: str
    quantisation: QuantisationBody
    published: str = Field(description="When, in ISO 8601, UTC.")
    seconds: dict[str, float] = Field(description="What each stage took.")
    image: ImageBody | None


class JobList(BaseModel):
    """A page of jobs, each at its latest run, newest first."""

    jobs: list[Job]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class BatchWanted(BaseModel):
    """A folder of this server to make jobs of."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"labels": "/data/labelsTr", "images": "/data/imagesTr", "spec": {"labels": [5, 6, 7]}}
            ]
        },
    )

    labels: str = Field(min_length=1, description="Folder of the masks, with all below it; a whole path.")
    images: str | None = Field(
        None, min_length=1, description="Folder of the images; paired by name, nnU-Net's or BIDS' too."
    )
    pattern: str | None = Field(
        None, min_length=1, max_length=256, description="Which files are masks, as in `*_dseg.nii.gz`."
    )
    spec: Spec | None = Field(
        None, description="Of a dataset that is not there yet; else it must be its own."
    )
    spacing: Triple | None = Field(None, description="mm (z, y, x) of files that have none, as NumPy's.")
    replace: bool = Field(False, description="Supersede other masks of the same cases.")

    def spec_texts(self) -> tuple[str | None, str | None]:
        """Labels and units as an upload's address has them; None for what was left out."""
        if self.spec is None:
            return None, None
        given = self.spec.model_fields_set
        labels = "all" if self.spec.labels is None else ",".join(map(str, self.spec.labels)) or ","
        return labels if "labels" in given else None, self.spec.units if "units" in given else None


class JobCounts(BaseModel):
    """How many jobs are in each state."""

    queued: int
    running: int
    done: int
    failed: int
    cancelled: int


class BatchBody(BaseModel):
    """A batch: a folder that became jobs."""

    id: str
    dataset: str
    labels: str = Field(description="Folder of the masks.")
    images: str | None = Field(description="Folder of the images.")
    pattern: str | None
    spec: Spec
    spacing: Triple | None
    replace: bool
    created: datetime
    submitted: bool = Field(
        description="Whether all files were taken; false while it goes on, or was cut short: submit it again."
    )
    cases: int = Field(description="How many masks were found.")
    files: int = Field(description="How many masks and images were found.")
    published: int = Field(description="Files passed over, since their cases are published from them.")
    under_way: int = Field(description="Files passed over, since another batch or upload has them queued.")
    jobs: JobCounts = Field(description="The jobs made for the others; those run again later are not here.")
    fraction: float = Field(description="The part of these jobs that has ended, 0 to 1.")
    seconds_left: float | None = Field(description="At the pace of the last two minutes; null if unknown.")

    @classmethod
    def of(cls, batch: Batch) -> BatchBody:
        """What is told of `batch`."""
        asked = batch.asked
        return cls(
            id=batch.id,
            dataset=asked.dataset,
            labels=asked.labels,
            images=asked.images,
            pattern=asked.pattern,
            spec=Spec.model_validate(asked.spec.to_json()),
            spacing=asked.spacing,
            replace=asked.replace,
            created=batch.created,
            submitted=batch.submitted,
            cases=batch.cases,
            files=batch.files,
            published=batch.published,
            under_way=batch.under_way,
            jobs=JobCounts.model_validate({state.value: count for state, count in batch.jobs.items()}),
            fraction=batch.fraction,
            seconds_left=batch.seconds_left,
        )


class BatchList(BaseModel):
    """A page of batches, newest first."""

    batches: list[BatchBody]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class WorkerList(BaseModel):
    """The workers, the longest-serving first."""

    workers: list[Worker]


class Health(BaseModel):
    """How the service is."""

    status: Literal["alive", "ready"]
