"""Marks in /etc/provision/had: that this stack had something, so that its loss is noticed.

A host that is rebuilt has no marks, and nothing is lost there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from provisioner.engine.probe import Probe
from provisioner.engine.quoting import word
from provisioner.values import dataclass

HAD = "/etc/provision/had"
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,99}")


@dataclass(frozen=True)
class MarkProbe(Probe[bool]):
    """Whether the stack on this host had the thing `name`."""

    name: str

    kind: ClassVar[str] = "marks"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"not the name of a mark: {self.name!r}")

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        return f"ls {HAD} 2>/dev/null || :"

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[bool]:
        names = set(output.decode("utf-8", "replace").splitlines())
        return [probe.name in names for probe in probes]


@dataclass(frozen=True)
class MarksProbe(Probe[frozenset[str]]):
    """The names of everything that the stack on this host had."""

    kind: ClassVar[str] = "had"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        return MarkProbe.fragment(())

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[frozenset[str]]:
        names = frozenset(name for name in output.decode("utf-8", "replace").splitlines() if _NAME.fullmatch(name))
        return [names for _ in probes]


def made(name: str) -> str:
    """The command that makes a mark."""
    return f"mkdir -p -m 0755 /etc/provision {HAD}; : >{word(f'{HAD}/{MarkProbe(name).name}')}"
