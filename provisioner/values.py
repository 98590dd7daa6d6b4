"""Dataclasses that cost next to nothing to define.

The standard library writes the source of six methods for every class and compiles it: half a
millisecond each on Python 3.11, a seventh of a run without changes, for methods that it mostly never
calls. Here fields, defaults, `replace` and `fields` are the standard library's own, and the methods
are ordinary ones that look at the fields when they are called.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from dataclasses import MISSING, FrozenInstanceError
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["dataclass"]


def _dataclass(
    cls: type[Any] | None = None, /, *, frozen: bool = False, kw_only: bool = False
) -> type[Any] | Callable[[type[Any]], type[Any]]:
    """As `dataclasses.dataclass`, of whose options it takes two."""

    def define(cls: type[Any]) -> type[Any]:
        own = dict(vars(cls))
        dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
        for name, method in _methods(dataclasses.fields(cls), frozen).items():
            # Defining __eq__ leaves None as a class's __hash__: that is no choice of its author.
            if own.get(name) is None:
                setattr(cls, name, method)
        return cls

    return define if cls is None else define(cls)


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass


def _methods(fields: tuple[dataclasses.Field[Any], ...], frozen: bool) -> dict[str, Callable[..., Any] | None]:
    names = frozenset(field.name for field in fields)
    order = [field.name for field in fields if not field.kw_only]
    defaults = {field.name: field.default for field in fields if field.default is not MISSING}
    factories = {field.name: field.default_factory for field in fields if field.default_factory is not MISSING}
    shown = [field.name for field in fields if field.repr]
    compared = [field.name for field in fields if field.compare]
    hashed = [field.name for field in fields if (field.compare if field.hash is None else field.hash)]

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        state = vars(self)
        state.update(defaults)
        state.update(zip(order, args, strict=False))
        state.update(kwargs)
        for name, make in factories.items():
            if name not in state:
                state[name] = make()
        if state.keys() != names or len(args) > len(order) or not kwargs.keys().isdisjoint(order[: len(args)]):
            raise TypeError(_misfit(type(self).__qualname__, names, order, state.keys(), args, kwargs))
        if hasattr(self, "__post_init__"):
            self.__post_init__()

    @recursive_repr()
    def __repr__(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def __eq__(self: Any, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        mine, theirs = vars(self), vars(other)
        return [mine[name] for name in compared] == [theirs[name] for name in compared]

    def __hash__(self: Any) -> int:
        state = vars(self)
        key: tuple[Hashable, ...] = tuple([state[name] for name in hashed])
        return hash(key)

    def __setattr__(self: Any, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self: Any, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    always: dict[str, Callable[..., Any] | None] = {"__init__": __init__, "__repr__": __repr__, "__eq__": __eq__}
    if not frozen:
        return {**always, "__hash__": None}
    return {**always, "__hash__": __hash__, "__setattr__": __setattr__, "__delattr__": __delattr__}


def _misfit(
    kind: str, names: frozenset[str], order: list[str], state: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str:
    """Which arguments of a call do not fit."""
    if len(args) > len(order):
        return f"{kind}() takes {len(order)} positional arguments but {len(args)} were given"
    for name in order[: len(args)]:
        if name in kwargs:
            return f"{kind}() got multiple values for argument {name!r}"
    for name in kwargs:
        if name not in names:
            return f"{kind}() got an unexpected keyword argument {name!r}"
    missing = ", ".join(sorted(names - set(state)))
    return f"{kind}() missing required arguments: {missing}"
