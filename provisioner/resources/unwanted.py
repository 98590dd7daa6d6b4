"""A unit of this tool that nothing needs any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import word, words
from provisioner.engine.resource import Change, HostResource
from provisioner.resources.paths import PathProbe, PathState, checked
from provisioner.values import dataclass


@dataclass(frozen=True, kw_only=True)
class NoUnit(HostResource):
    """A unit is stopped, disabled, and its files are gone; it can be made again, so no copy is kept.

    Its own file, the first of `files`, says whether it is there.
    """

    unit: str
    files: tuple[str, ...]
    reason: str

    def __post_init__(self) -> None:
        for path in self.files:
            checked(path)

    def probes(self) -> tuple[Probe[Any], ...]:
        return tuple(PathProbe(path, read=False) for path in self.files)

    def diff(self, seen: Seen) -> Change | None:
        there = [probe for probe in self.probes() if seen[probe].kind == "file"]
        return Change("remove", self.reason, title=self.unit) if there else None

    def after(self, seen: Seen) -> Seen:
        for path in self.files:
            seen = seen.put(PathProbe(path, read=False), PathState("absent"))
        return seen

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        lines = []
        for item, _ in items:
            unit = word(item.unit)
            lines.append(f"systemctl disable -q --now {unit} 2>/dev/null || systemctl stop {unit} 2>/dev/null || :")
            lines.append(f"rm -f -- {words(*item.files)}")
        return "\n".join([*lines, "systemctl daemon-reload"])
