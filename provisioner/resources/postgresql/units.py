"""The units of clusters: looked at only for versions that the host has, as systemd would load a unit
for each of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from provisioner.engine.quoting import words
from provisioner.resources.unit import UnitProbe, UnitState
from provisioner.values import dataclass


@dataclass(frozen=True)
class ClusterUnitProbe(UnitProbe):
    """A cluster's unit, compared with the time its files were last loaded."""

    kind: ClassVar[str] = "postgresql-units"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        units = words(*(p.unit for p in probes))
        return (
            f"set --\nfor u in {units}; do\n"
            "  v=${u#postgresql@}; v=${v%-main.service}\n"
            '  [ -e "/etc/postgresql/$v/main" ] || [ -e "/run/provision/$u" ] && set -- "$@" "$u"\n'
            "done\n[ $# -gt 0 ] || exit 0\n" + cls.look('"$@"')
        )

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[UnitState]:
        lines = set(output.decode("utf-8", "replace").splitlines())
        shown = [probe for probe in probes if f"Id={probe.unit}" in lines]
        states = dict(zip(shown, UnitProbe.parse(shown, output), strict=True)) if shown else {}
        return [states.get(probe, UnitState()) for probe in probes]
