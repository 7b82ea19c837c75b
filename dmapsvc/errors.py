"""Everything that can go wrong, as one tree, and the problem object it becomes.

    DmapsvcError
    ├── BadInput            422  what was given cannot be used; trying again cannot help
    │   ├── BadName         400  a dataset or case name
    │   ├── BadSpec         400  the map that was asked for
    │   ├── BadFile         422  not a readable label map or image
    │   │   └── BadLabels   422  readable, but its voxels are no label map
    │   ├── GridMismatch    409  image and mask do not lie on one grid
    │   ├── TooLarge        413  over a limit of this service
    │   └── Diverged        422  a training whose loss did not stay finite
    ├── Conflict            409  something else is there already
    │   └── Superseded      409  a newer mask of the case was accepted meanwhile
    ├── NotFound            404  no such dataset, case, job or array
    │   └── DatasetAway     404  a dataset that was there is not, or its disk is not
    ├── Busy                503  the queue is full
    ├── DatabaseAway        503  the queue's database does not answer
    ├── DiskFull            507  no room to keep it; running the same job again can help
    ├── SourceAway          503  the folder of a batch's file is not there, or fails
    ├── StoreAway           503  the bucket of the store does not answer, or refuses
    ├── Damaged             500  the store does not hold what it promises
    ├── DeviceFailed        500  a distance backend or its device cannot be used
    │   ├── DeviceMissing   500  it is not there, or what drives it is not installed
    │   ├── DeviceFull      500  its memory does not hold this volume: another backend may do
    │   └── DeviceLost      500  its context is broken: only a new process can use it again
    ├── WorkerDied          500  a job that ended its worker each time it was run
    ├── Stalled             500  a job that told no progress, until its worker was ended
    ├── ServerProblem            what a dmapsvc server answered (client side)
    └── ServerUnreachable        no answer, or not one of a dmapsvc server (client side)

Every error says what was found, what was wanted and what to do. Over HTTP it is an RFC 9457 problem, on the
command line one line; a failed job keeps the same object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An error as RFC 9457 (`application/problem+json`) writes it."""

    type: str
    title: str
    status: int
    detail: str


class DmapsvcError(Exception):
    """dmapsvc could not do this.

    `found` is what was there (it opens with the file or thing it is about), `wanted` what would have been
    right, `remedy` what to do now. The message is `found; wanted. remedy.`
    """

    status: ClassVar[int] = 500
    permanent: ClassVar[bool] = False  # True: running the same job again cannot help

    def __init__(self, found: str, wanted: str = "", remedy: str = "") -> None:
        self.found, self.wanted, self.remedy = found, wanted, remedy
        super().__init__(self.detail)

    @property
    def detail(self) -> str:
        """The whole message, one line: without the control characters that what it quotes may bring."""
        sentences = ["; ".join(part for part in (self.found, self.wanted) if part), self.remedy]
        line = " ".join(_ended(sentence) for sentence in sentences if sentence)
        return line if line.isprintable() else printable(line, len(line))

    @property
    def title(self) -> str:
        """The first line of the docstring: the same for every error of this class."""
        return (type(self).__doc__ or "").partition("\n")[0].rstrip(".")

    @property
    def problem(self) -> Problem:
        """This error as an RFC 9457 problem; its `type` is a relative reference by the class's name."""
        return Problem(
            type=f"/problems/{_kebab(type(self).__name__)}",
            title=self.title,
            status=self.status,
            detail=self.detail,
        )

    def __reduce__(self) -> tuple[type[DmapsvcError], tuple[str, str, str]]:
        return type(self), (self.found, self.wanted, self.remedy)


class BadInput(DmapsvcError):
    """What was given cannot be used."""

    status = 422
    permanent = True


class BadName(BadInput):
    """A name that cannot be used."""

    status = 400


class BadSpec(BadInput):
    """A map that cannot be asked for."""

    status = 400


class BadFile(BadInput):
    """A file that cannot be read as a volume."""


class BadLabels(BadFile):
    """A volume that is not a label map."""


class GridMismatch(BadInput):
    """Image and mask do not lie on one grid."""

    status = 409


class TooLarge(BadInput):
    """Larger than this service takes."""

    status = 413


class Diverged(BadInput):
    """A training whose loss did not stay finite."""


class Conflict(DmapsvcError):
    """Something else is there already."""

    status = 409
    permanent = True


class Superseded(Conflict):
    """A newer mask of this case was accepted, or the case was deleted."""


class NotFound(DmapsvcError):
    """There is no such thing here."""

    status = 404
    permanent = True


class DatasetAway(NotFound):
    """The dataset is not where it was."""


class Busy(DmapsvcError):
    """The queue is full."""

    status = 503


class DatabaseAway(DmapsvcError):
    """The queue's database does not answer."""

    status = 503


class DiskFull(DmapsvcError):
    """The disk of the service is full."""

    status = 507


class SourceAway(DmapsvcError):
    """The folder that the file lies in cannot be reached."""

    status = 503


class StoreAway(DmapsvcError):
    """The store cannot be reached."""

    status = 503


class Damaged(DmapsvcError):
    """The store does not hold what it promises."""


class DeviceFailed(DmapsvcError):
    """The distance transform could not run on its device."""


class DeviceMissing(DeviceFailed):
    """There is no such device here."""


class DeviceFull(DeviceFailed):
    """The device has not the memory for this volume."""


class DeviceLost(DeviceFailed):
    """The device's context is broken; only a new process can use it again."""


class WorkerDied(DmapsvcError):
    """The job ended its worker each time it was run."""

    permanent = True


class Stalled(DmapsvcError):
    """The job told no progress for too long; its worker was ended."""


class ServerProblem(DmapsvcError):
    """The server refused or failed."""

    def __init__(self, problem: Problem, *, retry_after: float | None = None) -> None:
        self._problem = problem
        self.retry_after = retry_after  # seconds, where the server said when to ask again
        super().__init__(problem.detail)

    @property
    def problem(self) -> Problem:
        """What the server said."""
        return self._problem

    def __reduce__(self) -> tuple[type[DmapsvcError], tuple[Problem]]:  # type: ignore[override]
        return type(self), (self._problem,)


class ServerUnreachable(DmapsvcError):
    """No dmapsvc server answered."""


def printable(text: str, longest: int = 120) -> str:
    """`text` for a message: without control characters, cut to `longest` characters."""
    plain = "".join(letter for letter in text if letter.isprintable())
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith("?") else f"{sentence.rstrip('.')}."


def _kebab(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
