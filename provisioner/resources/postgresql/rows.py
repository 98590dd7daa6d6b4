"""How many rows tables have: for a reader, never for a decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from provisioner import assets
from provisioner.engine.probe import Probe
from provisioner.engine.quoting import word
from provisioner.resources.dbms import ROWS, counted
from provisioner.resources.postgresql import psql
from provisioner.values import dataclass


@dataclass(frozen=True)
class RowsProbe(Probe[tuple[int, int] | None]):
    """Rows of two tables of a database, each at most ROWS; None where they could not be counted."""

    version: str
    """Of the cluster VERSION/main."""
    database: str
    one: str
    other: str
    kept: str
    """Column of both that says `active` for rows that count: what was deleted may still be there."""

    kind: ClassVar[str] = "rows"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        lines = [psql.READ_ONLY]
        for number, p in enumerate(probes):
            variables = {"one": p.one, "other": p.other, "kept": p.kept, "most": str(ROWS)}
            lines.append(
                f"(\n{psql.functions(p.version)}\n{psql.find_port(p.version)}\n"
                f'[ -n "$port" ] || exit 0\n'
                f"n=$({psql.feed(assets.sql('postgresql/rows.sql'), variables)} | administer {word(p.database)} "
                f'2>/dev/null) && echo "{number}|$n"\n) || :'
            )
        return "\n".join(lines)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[tuple[int, int] | None]:
        return counted(output, len(probes))
