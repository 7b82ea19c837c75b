"""Every setting of the service and of reading from one, documented where it is defined.

Each is an environment variable `DMAPSVC_<NAME>`.
"""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dmapsvc.errors import BadInput

_DEVICE = re.compile(r"(auto|cuda|cucim)(:[0-9]{1,4})?|numba|scipy")

_BUCKET = re.compile(r"s3://[^/]+(/.*)?")

_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class Settings(BaseSettings):
    """The settings of one service; its API and its workers read the same ones, a loader only the last two."""

    model_config = SettingsConfigDict(env_prefix="DMAPSVC_", frozen=True)

    data: Path = Field(
        Path("dmapsvc-data"), description="Folder of the service: store, spool, staging, database."
    )
    store: str | None = Field(
        None,
        description="Where the datasets lie: a folder or s3://bucket/prefix; data folder's store if unset.",
    )
    database_url: str | None = Field(
        None, description="Database of the queue; SQLite in the data folder if unset."
    )
    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port the API listens on; 0 takes a free one.")
    keys: Path | None = Field(
        None, description="File of the API keys; keys.json in the data folder if unset."
    )
    allow_anonymous: bool = Field(
        False, description="Whether other machines may reach a service that has no keys file."
    )
    hosts: str | None = Field(
        None,
        description="Names the API answers to, like maps.example.org,*.example.com; if unset, any, "
        "but on a loopback address only that machine's own.",
    )
    cors_origins: str | None = Field(
        None, description="Origins whose web pages may call the API, like https://viewer.example.org."
    )
    max_requests: int = Field(
        1000, gt=0, description="Requests under way at once, waiting ones too; one more is answered 503."
    )
    idle_seconds: float = Field(
        60.0, gt=0, description="How long the body of a request may pause before it is answered 408."
    )
    min_free: int = Field(
        2**30,
        ge=0,
        description="Bytes that must be free in the data folder for the API to call itself ready.",
    )
    log: Literal["text", "json"] = Field(
        "text", description="Form of log lines: text for a person, json for a machine."
    )
    metrics_host: str = Field("127.0.0.1", description="Address on which a worker answers /metrics.")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port on which a worker answers /metrics; none if unset."
    )
    device: str = Field(
        "auto",
        description="Distance backend of a worker: auto, cuda, cucim, numba or scipy; "
        "with auto:1, cuda:1 or cucim:1 on GPU 1, counted from 0.",
    )
    threads: int = Field(
        default_factory=lambda: _cores(),
        ge=1,
        description="Threads a transform may use; all cores this process may use if unset.",
    )
    concurrency: int = Field(
        2, ge=1, le=64, description="Jobs a worker runs side by side (one on the device)."
    )
    poll_seconds: float = Field(
        0.15, gt=0, description="How often an idle worker asks for work; eight times as often in a rush."
    )
    attempts: int = Field(
        3, ge=1, description="How often a job is tried, or may end its worker, before it fails."
    )
    stall_seconds: float = Field(
        900.0,
        gt=0,
        description="How long a job may tell no progress until its worker is ended; it is tried again.",
    )
    lease_seconds: float = Field(
        15.0,
        ge=3,
        description="How long a worker that is cut off from Postgres keeps its jobs; "
        "it ends itself when two thirds of it have passed.",
    )
    memory_budget: int | None = Field(
        None, gt=0, description="Bytes that running jobs of a worker may take; 60 % of its memory if unset."
    )
    max_body: int = Field(8 * 2**30, gt=0, description="Largest upload, in bytes.")
    max_voxels: int = Field(2**32, gt=0, description="Most voxels of a volume.")
    max_queue: int = Field(100_000, gt=0, description="Uploads that may wait; one more is answered 503.")
    max_batch: int = Field(
        200_000, gt=0, description="Files of batches that may wait; a batch that would be above is refused."
    )
    roots: str = Field(
        "",
        description="Folders below which a batch may name one, with `:` between them; none if unset.",
    )
    keep_days: float = Field(
        30, gt=0, description="Days that an ended job is kept, and its upload if it can be run again."
    )
    gc_seconds: float = Field(
        3600, gt=0, description="How often a worker removes what nobody needs any more."
    )
    cache: Path | None = Field(
        None,
        description="Folder where training keeps copies of remote cases; ~/.cache/dmapsvc, "
        "or dmapsvc in $XDG_CACHE_HOME, if unset.",
    )
    cache_bytes: int | None = Field(
        None,
        gt=0,
        description="Bytes these copies may take; 50 GB, but at most half of the free disk, if unset.",
    )

    @field_validator("hosts", "cors_origins")
    @classmethod
    def _tidy_list(cls, listed: str | None) -> str | None:
        return None if listed is None else ",".join(part.strip() for part in listed.split(",")) or None

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        if not _DEVICE.fullmatch(device):
            raise ValueError(
                "wanted auto, cuda, cucim, numba or scipy; the first three may name a GPU, as in cuda:1"
            )
        return device

    @field_validator("roots")
    @classmethod
    def _check_roots(cls, roots: str) -> str:
        if not all(Path(part).is_absolute() for part in roots.split(os.pathsep) if part):
            raise ValueError("wanted whole paths of folders, from / on")
        return roots

    @property
    def root_folders(self) -> tuple[Path, ...]:
        """The folders below which a batch may name one."""
        return tuple(Path(part) for part in self.roots.split(os.pathsep) if part)

    @field_validator("store")
    @classmethod
    def _check_store(cls, store: str | None) -> str | None:
        if store is not None and "://" in store and not _BUCKET.fullmatch(store):
            raise ValueError("wanted a folder or s3://bucket/prefix")
        return store

    @property
    def backend(self) -> str:
        """The distance backend that `device` asks for."""
        return self.device.partition(":")[0]

    @property
    def gpu(self) -> int | None:
        """The GPU that `device` names, from 0 among those that the process may see; None if it names none."""
        number = self.device.partition(":")[2]
        return int(number) if number else None

    @cached_property
    def memory_budget_bytes(self) -> int:
        """The memory budget that is in force, in bytes."""
        return self.memory_budget if self.memory_budget is not None else int(0.6 * memory_limit())

    @property
    def cache_folder(self) -> Path:
        """The folder of copies of remote cases that is in force."""
        home = os.environ.get("XDG_CACHE_HOME")
        return self.cache or (Path(home) if home else Path.home() / ".cache") / "dmapsvc"

    @cached_property
    def sqlalchemy_url(self) -> str:
        """The database that is in force, as an SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{(self.data / 'jobs.sqlite').absolute()}"

    @property
    def store_location(self) -> str:
        """Where the published datasets lie, `<dataset>.zarr` each; served as they are."""
        return self.store or str(self.data / "store")

    @property
    def staging(self) -> Path:
        """Folder where cases are written before they are published; never served.

        A case is published by renaming it, so for another folder than the usual it is a hidden one inside.
        """
        if self.store is None or self.store.startswith("s3://"):
            return self.data / "staging"
        return Path(self.store) / ".staging"

    @property
    def spool(self) -> Path:
        """Folder of uploads whose job has not ended; never served."""
        return self.data / "spool"

    @property
    def keys_file(self) -> Path:
        """The file of the API keys that is in force; there may be none."""
        return self.keys or self.data / "keys.json"

    @property
    def audit_file(self) -> Path:
        """The file with a line for each change that somebody asked for."""
        return self.data / "audit.jsonl"

    @property
    def locks(self) -> Path:
        """Folder of the workers' lock files."""
        return self.data / "locks"


def load_settings(**given: Any) -> Settings:
    """The settings of the environment, with those in `given` instead of theirs; raises BadInput."""
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise BadInput(
            f"DMAPSVC_{name}={first['input']!r}", first["msg"].removeprefix("Value error, ")
        ) from None


def _cores() -> int:
    """The cores this process may use; on macOS, which binds none, all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_limit() -> int:
    """Bytes this process may use: the machine's memory, or less where a control group says so."""
    texts = [path.read_text().strip() for path in _CGROUP_LIMITS if path.is_file()]
    return min([psutil.virtual_memory().total, *(int(text) for text in texts if text.isdigit())])
