"""Dataclasses that are cheap to define behave as the standard library's."""

from __future__ import annotations

import dataclasses
from dataclasses import FrozenInstanceError, field, replace
from typing import Any, ClassVar

import pytest

from provisioner import values


def pair(make: Any) -> tuple[type[Any], type[Any]]:
    """The same class made by the standard library, and here."""

    def define(dataclass: Any) -> type[Any]:
        @dataclass(frozen=True)
        class Base:
            """A base."""

            name: str
            kind: ClassVar[str] = "x"
            tags: list[str] = field(default_factory=list, hash=False)

        @dataclass(frozen=True, kw_only=make)
        class Thing(Base):
            """A thing."""

            size: int = 1
            note: str = field(default="", compare=False, repr=False)

        return Thing

    return define(dataclasses.dataclass), define(values.dataclass)


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("a",), {}),
    (("a", ["t"]), {"size": 3}),
    ((), {"name": "a", "note": "n"}),
    (("a", ["t"], 2, "n"), {}),
    ((), {}),
    (("a",), {"name": "b"}),
    (("a",), {"other": 1}),
    (("a", [], 1, "n", 5), {}),
]


@pytest.mark.parametrize("kw_only", [False, True])
@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_a_call_makes_the_same_thing_or_the_same_kind_of_error(kw_only: bool, args: Any, kwargs: Any) -> None:
    made: list[Any] = []
    for kind in pair(kw_only):
        try:
            thing = kind(*args, **kwargs)
            made.append((repr(thing), dataclasses.asdict(thing), hash(thing)))
        except TypeError:
            made.append(TypeError)
    assert made[0] == made[1]


def test_equality_hashes_and_replacing_are_those_of_the_standard_library() -> None:
    results = []
    for kind in pair(True):
        one, other = kind("a", size=2), kind("a", size=2, note="not compared")
        changed = replace(one, size=3)
        results.append(
            (one == other, hash(one) == hash(other), one != changed, changed.size, one == "a", len({one, other}))
        )
    assert results[0] == results[1] == (True, True, True, 3, False, 1)


def test_a_value_cannot_be_changed_and_each_has_a_default_of_its_own() -> None:
    _, kind = pair(True)
    thing = kind("a")
    with pytest.raises(FrozenInstanceError):
        thing.size = 2
    with pytest.raises(FrozenInstanceError):
        del thing.size
    assert thing.tags is not kind("a").tags


def test_methods_that_a_class_has_itself_stay() -> None:
    @values.dataclass(frozen=True)
    class Own:
        """With its own."""

        a: int

        def __post_init__(self) -> None:
            if self.a < 0:
                raise ValueError(self.a)

        def __eq__(self, other: object) -> bool:
            return True

        def __repr__(self) -> str:
            return "own"

    assert (repr(Own(1)), Own(1) == Own(2)) == ("own", True)
    assert len({Own(1), Own(1)}) == 1
    with pytest.raises(ValueError, match="-1"):
        Own(-1)


def test_one_that_is_not_frozen_can_be_changed_and_has_no_hash() -> None:
    @values.dataclass
    class Open:
        """Changes."""

        a: int = 0

    thing = Open()
    thing.a = 2
    assert thing == Open(2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(thing)
