"""Read-only looks at a host. Probes of one kind share one fragment, all kinds share one exec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

from provisioner.engine import script
from provisioner.engine.quoting import encode
from provisioner.errors import ProtocolError
from provisioner.transport.base import Session

T = TypeVar("T")


class Look(Generic[T]):
    """A name for something that can be seen, whose value is a `T`; subclasses are frozen
    dataclasses (hashable, compared by value)."""


class Probe(Look[T], ABC):
    """A look at one thing by a shell fragment.

    `kind` names the fragment. `fragment` returns POSIX sh that runs as root with stdin closed and
    changes nothing; `parse` turns its stdout into one value for each probe and treats it as
    hostile (raises ProtocolError).
    """

    kind: ClassVar[str]

    @classmethod
    @abstractmethod
    def fragment(cls, probes: Sequence[Self]) -> str: ...

    @classmethod
    @abstractmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[T]:
        """One value per probe, in the order of `probes`."""


class Asked(Look[T], ABC):
    """A look at one thing that a client library takes from here, through the connection to the host."""

    @abstractmethod
    def ask(self, session: Session) -> T:
        """Changes nothing. What stands in the way is part of the answer."""


class Seen:
    """What was seen of a host: look -> value. Immutable; `put` gives a changed copy."""

    def __init__(self, values: Mapping[Look[Any], Any] | None = None):
        self._values: dict[Look[Any], Any] = dict(values or {})

    def __getitem__(self, look: Look[T]) -> T:
        value: T = self._values[look]
        return value

    def get(self, look: Look[T]) -> T | None:
        return self._values.get(look)

    def __contains__(self, look: object) -> bool:
        return look in self._values

    def __iter__(self) -> Iterator[Look[Any]]:
        return iter(self._values)

    def put(self, look: Look[T], value: T) -> Seen:
        copy = Seen(self._values)
        copy._values[look] = value
        return copy

    def merge(self, other: Seen) -> Seen:
        return Seen({**self._values, **other._values})


def by_kind(probes: Iterable[Probe[Any]]) -> dict[type[Probe[Any]], list[Probe[Any]]]:
    groups: dict[type[Probe[Any]], list[Probe[Any]]] = {}
    for probe in dict.fromkeys(probes):
        groups.setdefault(type(probe), []).append(probe)
    return groups


def fragments(groups: Mapping[type[Probe[Any]], Sequence[Probe[Any]]]) -> list[tuple[str, str]]:
    return [(kind.kind, kind.fragment(probes)) for kind, probes in groups.items()]


def read(groups: Mapping[type[Probe[Any]], Sequence[Probe[Any]]], frames: Iterable[script.Frame]) -> Seen:
    """The values in `frames`; ProtocolError when one is missing or its fragment failed."""
    replies = {frame.key: frame for frame in frames if frame.kind == "probe"}
    errors = {frame.key: frame.data for frame in frames if frame.kind == "stderr"}
    values: dict[Look[Any], Any] = {}
    for kind, probes in groups.items():
        reply = replies.get(kind.kind)
        if reply is None or reply.status != 0:
            raise ProtocolError(
                f"the host could not be read ({kind.kind})",
                why=f"its reading script ended with status {reply.status}" if reply else "its answer is missing",
                detail=errors.get(kind.kind, b"")[-2000:].decode("utf-8", "replace"),
            )
        try:
            parsed = list(kind.parse(probes, reply.data))
        except (ValueError, LookupError, ArithmeticError) as error:
            raise ProtocolError(f"the host's answer makes no sense ({kind.kind})", why=str(error)[:200]) from error
        if len(parsed) != len(probes):
            raise ProtocolError(f"the host's answer is not complete ({kind.kind})")
        values.update(zip(probes, parsed, strict=True))
    return Seen(values)


def look(session: Session, looks: Iterable[Look[Any]], *, timeout: float = 60.0) -> Seen:
    """See all probes of `looks` with one exec, and ask the others."""
    looks = dict.fromkeys(looks)
    asked = Seen({each: each.ask(session) for each in looks if isinstance(each, Asked)})
    groups = by_kind(each for each in looks if isinstance(each, Probe))
    if not groups:
        return asked
    mark = script.boundary()
    frames: list[script.Frame] = []
    reader = script.FrameReader(mark, frames.append)
    text = script.wrap(script.gather(fragments(groups)), mark)
    result = session.run(encode(text), on_output=reader.feed, timeout=timeout)
    script.require_end(reader, result.stderr, result.status)
    return read(groups, frames).merge(asked)
