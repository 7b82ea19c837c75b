"""What a run of the program left: its exit code and what it printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Run:
    """The exit code, stdout and stderr of one run."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on stderr; fails if there are more, or none."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert self.err.endswith("\n")
        return lines[0]
