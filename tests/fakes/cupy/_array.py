"""Arrays of the card: NumPy's, wrapped so that nobody takes them for arrays of the host by accident.

Whatever NumPy can do with an array, these can, as far as CuPy has the same; arrays of both kinds do not mix.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ._card import Allocation, check, run_kernel


class ndarray:  # noqa: N801  # CuPy's own name
    """An array of the card; `host` are its voxels, which a backend must not look at."""

    def __init__(self, host: Any, allocation: Allocation | None = None) -> None:
        self.host = host
        self.allocation = allocation or Allocation(host.nbytes)

    __array_priority__ = 100

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return on_card(getattr(ufunc, method))(*inputs, **kwargs)

    def __array_function__(self, function: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        return on_card(function)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self.host, name)
        if isinstance(value, np.ndarray):  # .T, .real
            return ndarray(value, self.allocation)
        return self._method(name) if callable(value) else value

    def _method(self, name: str) -> Callable[..., Any]:
        return on_card(lambda *args, **kwargs: getattr(self.host, name)(*args, **kwargs), self)

    def get(self, stream: object = None, out: Any = None) -> Any:
        check()
        return self.host.copy()

    def __getitem__(self, key: Any) -> Any:
        return on_card(operator.getitem, self)(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        on_card(operator.setitem)(self, key, value)

    def __len__(self) -> int:
        return len(self.host)

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __index__(self) -> int:
        return operator.index(self.get())

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    __hash__ = None  # type: ignore[assignment]


def _binary(name: str) -> Callable[[ndarray, Any], Any]:
    return lambda self, other: on_card(getattr(operator, name))(self, other)


def _reflected(name: str) -> Callable[[ndarray, Any], Any]:
    return lambda self, other: on_card(getattr(operator, name))(other, self)


def _in_place(name: str) -> Callable[[ndarray, Any], ndarray]:
    def method(self: ndarray, other: Any) -> ndarray:
        on_card(getattr(operator, name))(self, other)
        return self

    return method


for _name in (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and_",
    "or_",
    "xor",
    "lshift",
    "rshift",
):
    _dunder = _name.rstrip("_")
    setattr(ndarray, f"__{_dunder}__", _binary(_name))
    setattr(ndarray, f"__r{_dunder}__", _reflected(_name))
    setattr(ndarray, f"__i{_dunder}__", _in_place(f"i{_dunder}"))
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "matmul"):
    setattr(ndarray, f"__{_name}__", _binary(_name))
for _name in ("neg", "abs", "invert"):
    setattr(ndarray, f"__{_name}__", lambda self, _name=_name: on_card(getattr(operator, _name))(self))


def on_card(function: Callable[..., Any], owner: ndarray | None = None) -> Callable[..., Any]:
    """A function of NumPy's as one of the card's: arrays of the card in, arrays of the card out."""

    def run(*args: Any, **kwargs: Any) -> Any:
        run_kernel()
        result = function(*_to_host(args), **_to_host(kwargs))
        return _to_card(result, (owner, *args, *kwargs.values()))

    return run


def _to_host(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (tuple, list)):
        return type(value)(map(_to_host, value))
    if isinstance(value, dict):
        return {name: _to_host(item) for name, item in value.items()}
    return value


def _to_card(result: Any, near: tuple[Any, ...]) -> Any:
    if isinstance(result, tuple):
        return tuple(_to_card(item, near) for item in result)
    if isinstance(result, np.generic):
        result = np.asarray(result)
    if not isinstance(result, np.ndarray):
        return result
    for array in near:  # a view has its base's memory
        if isinstance(array, ndarray) and np.may_share_memory(array.host, result):
            return array if array.host is result else ndarray(result, array.allocation)
    return ndarray(result)
