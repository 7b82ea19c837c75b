"""A stand-in for `cupy.cuda.memory`."""

from .._card import OutOfMemoryError

__all__ = ["OutOfMemoryError"]
