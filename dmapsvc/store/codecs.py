"""Whether zarr knows the codecs that the metadata of a case ask for.

zarr itself gives up at the first that it does not know, and says neither which array has it nor what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zarr.registry import get_codec_class

from dmapsvc.errors import Damaged


def check_codecs(case: str, nodes: Mapping[str, Any]) -> None:
    """Raise Damaged for a codec that is not installed.

    `nodes`: the metadata of the case's groups and arrays, by path.
    """
    for path, node in nodes.items():
        for codec in _names(node.get("codecs", ())):
            if not _is_known(codec):
                raise Damaged(
                    f"case {case!r}: {path.partition('/')[0]}: it is packed by the codec {codec!r}",
                    "none of that name is installed",
                    "Install the zarr extension that brings it, or publish the case again with replace",
                )


def _names(codecs: Sequence[Any]) -> Iterator[str]:
    """The codecs and those inside them; one without a configuration may be a name alone."""
    for codec in codecs:
        if isinstance(codec, str):
            yield codec
            continue
        yield codec["name"]
        inner = codec.get("configuration", {})
        yield from _names((*inner.get("codecs", ()), *inner.get("index_codecs", ())))


def _is_known(codec: str) -> bool:
    try:
        get_codec_class(codec)
    except KeyError:
        return False
    return True
