"""What the Dockerfile says, stage by stage, for those who run its commands without an engine."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker" / "Dockerfile"


@dataclass
class Stage:
    """One stage: its instructions in order, those of the stages it stands on before its own."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """The arguments of every `instruction`."""
        return [argument for name, argument in self.instructions if name == instruction]

    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        return dict(pair.split("=", 1) for line in self.all("ENV") for pair in shlex.split(line))

    def command(self) -> list[str]:
        """What CMD runs."""
        return [str(word) for word in json.loads(self.all("CMD")[-1])]

    def health(self) -> list[str]:
        """What HEALTHCHECK runs."""
        return [str(word) for word in json.loads(self.all("HEALTHCHECK")[-1].partition("CMD ")[2])]


def read_stages(file: Path = FILE) -> dict[str, Stage]:
    """The stages of a Dockerfile by name."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    stages: dict[str, Stage] = {}
    for line in re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines():
        instruction, _, argument = line.partition(" ")
        if instruction == "FROM":
            base, name = argument.split(" AS ")
            inherited = stages[base].instructions if base in stages else []
            stage = stages[name] = Stage(name, base, list(inherited))
        else:
            stage.instructions.append((instruction, argument))
    return stages
