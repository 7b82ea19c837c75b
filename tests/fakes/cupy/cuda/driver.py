"""A stand-in for `cupy.cuda.driver`."""

from .._card import CUDADriverError

__all__ = ["CUDADriverError"]
