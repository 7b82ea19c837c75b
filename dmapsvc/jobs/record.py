"""What a job is asked for, what is known of it and of who runs it: frozen records and their JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from dmapsvc.errors import Problem
from dmapsvc.spec import MapSpec, Spacing, map_id
from dmapsvc.telemetry.context import request_id
from dmapsvc.telemetry.tracing import traceparent


class Kind(StrEnum):
    """What a job makes of its upload."""

    MASK = "mask"  # a label map and its Φ, published as a case
    IMAGE = "image"  # the image beside a case's label map


class State(StrEnum):
    """Where a run is; it ends in one of the last three and stays there."""

    QUEUED = "queued"  # accepted, safe on disk, waiting for a worker
    RUNNING = "running"  # a worker has it
    DONE = "done"  # published
    FAILED = "failed"  # ended with a problem
    CANCELLED = "cancelled"  # asked to stop, or superseded; published nothing

    @property
    def live(self) -> bool:
        """Whether the run has not ended."""
        return self in (State.QUEUED, State.RUNNING)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A file that was accepted, and all that is needed to run it.

    Of an upload, `spool` is its file name inside the spool folder and `sha256` its hash. A file of a batch
    was not opened: `source` is its path, without links, it is never removed, and `sha256` is its
    `source_key`; what the header says is None. `filename` is what messages call either.
    `shape` is (z, y, x), `affine` maps (i, j, k, 1) to RAS+ mm, `spacing` (z, y, x) in mm was given by the
    caller (NumPy files have none of their own). `bytes` is what its voxels take in memory once they are
    read, all channels. `replace`: another mask of the case may make room. `request_id` and `traceparent`
    are of the HTTP request that asked for it, for log lines and traces.
    """

    kind: Kind
    dataset: str
    case: str
    sha256: str
    spool: str | None
    source: str | None = None
    filename: str
    spec: MapSpec
    shape: tuple[int, int, int] | None
    affine: tuple[tuple[float, ...], ...] | None
    spacing: Spacing | None
    bytes: int | None
    replace: bool
    request_id: str | None = None
    traceparent: str | None = None

    @property
    def id(self) -> str:
        """The job's id: of a mask the map's identity, of an image the hash of what goes where."""
        if self.kind is Kind.MASK:
            return map_id(dataset=self.dataset, case=self.case, mask_sha256=self.sha256, spec=self.spec)
        parts = ["image", self.dataset, self.case, self.sha256]
        return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()

    def stamped(self) -> Request:
        """The same, as asked for by the HTTP request that is worked on now, if any."""
        return dataclasses.replace(self, request_id=request_id(), traceparent=traceparent())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for the database."""
        return {**vars(self), "kind": self.kind.value, "spec": self.spec.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Request:
        """The inverse of `to_json`."""
        affine, spacing, shape = data["affine"], data["spacing"], data["shape"]
        return cls(
            **{
                **data,
                "kind": Kind(data["kind"]),
                "spec": MapSpec.from_json(data["spec"]),
                "shape": None if shape is None else tuple(shape),
                "affine": None if affine is None else tuple(tuple(row) for row in affine),
                "spacing": None if spacing is None else tuple(spacing),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job at its latest run.

    `run` counts from 1; `percent` is of the whole run, 0 to 100; `position` in the queue is 1 for the next
    to start and None unless queued; times are UTC. `attempts`: how often this run was started. `problem` says
    why it failed; `notes` are words about accepted oddities of the file; `seconds` is by stage. `batch` is
    the id of the batch it belongs to. `sha256` is the file's; of a batch's file that was not read yet, a hash
    of its path, size and time.
    """

    id: str
    run: int
    kind: Kind
    dataset: str
    case: str
    state: State
    stage: str | None
    percent: float
    position: int | None
    created: datetime | None
    started: datetime | None
    ended: datetime | None
    problem: Problem | None
    notes: tuple[str, ...]
    seconds: dict[str, float]
    backend: str | None
    sha256: str
    revision: int
    filename: str
    attempts: int
    batch: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: times in ISO 8601, states and kinds as their values."""
        data = dataclasses.asdict(self)
        times = {key: value and value.isoformat() for key, value in data.items() if key in _TIMES}
        return {
            **data,
            **times,
            "kind": self.kind.value,
            "state": self.state.value,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Job:
        """The inverse of `to_json`; fields of later versions are passed over.

        Raises KeyError, TypeError or ValueError for what is no job.
        """
        known = {field.name: data[field.name] for field in dataclasses.fields(cls) if field.name != "batch"}
        times = {key: data[key] and datetime.fromisoformat(data[key]) for key in _TIMES}
        return cls(
            **{
                **known,
                **times,
                "batch": data.get("batch"),
                "kind": Kind(data["kind"]),
                "state": State(data["state"]),
                "problem": None if data["problem"] is None else Problem(**data["problem"]),
                "notes": tuple(data["notes"]),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some jobs, newest first; `next` is the cursor of the page after, None on the last."""

    jobs: tuple[Job, ...]
    next: str | None


@dataclass(frozen=True, kw_only=True)
class Device:
    """What a worker computes on: the distance backend that a volume meets first, and the device's name.

    `memory_used` and `memory_total` in bytes are of the GPU, or of a worker's process and what it may use;
    None where the device does not tell.
    """

    backend: str
    name: str
    memory_used: int | None = None
    memory_total: int | None = None


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker; `away` if it has not told of itself for some seconds, `running` the jobs it has now."""

    id: str
    host: str
    pid: int
    version: str
    backend: str
    device: str
    concurrency: int
    running: int
    memory_used: int | None
    memory_total: int | None
    started: datetime
    seen: datetime
    away: bool

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Worker:
        """From the service's JSON; raises KeyError, TypeError or ValueError for what is no worker."""
        known = {field.name: data[field.name] for field in dataclasses.fields(cls)}
        times = {key: datetime.fromisoformat(data[key]) for key in ("started", "seen")}
        return cls(**{**known, **times})


_TIMES = ("created", "started", "ended")
