"""The configuration file of a training: TOML, or JSON as a run folder keeps it.

Its keys are the fields of `TrainSettings`, which says what each means and checks the values. Paths in it are
taken from where the program is started, as flags are.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from dmapsvc.errors import BadFile
from dmapsvc.train.settings import checked_fields

_WANTED = ("wanted settings of a training, TOML, or .json", "See docs/training.md")


def read_config(path: Path) -> dict[str, Any]:
    """What the file at `path` says, as arguments of `TrainSettings`; they need not be complete.

    Raises BadFile if it is missing or neither TOML nor, as `.json`, JSON; BadInput for a name that is no
    setting, or a value of another kind.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}", *_WANTED) from None
    except ValueError as error:  # both decoders' errors, and that of UTF-8
        raise BadFile(f"{path}: {error}", *_WANTED) from None
    if not isinstance(content, dict):
        raise BadFile(f"{path}: a {type(content).__name__}", *_WANTED)
    return checked_fields(content, str(path))
