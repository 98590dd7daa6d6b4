"""How many rows tables have: for a reader, never for a decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from provisioner import assets
from provisioner.engine.probe import Probe
from provisioner.resources.dbms import ROWS, counted
from provisioner.resources.mysql import client
from provisioner.values import dataclass


@dataclass(frozen=True)
class RowsProbe(Probe[tuple[int, int] | None]):
    """Rows of two tables of a database, each at most ROWS; None where they could not be counted."""

    database: str
    one: str
    other: str
    kept: str
    """Column of both that says `active` for rows that count: what was deleted may still be there."""

    kind: ClassVar[str] = "mysql-rows"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        lines = [client.FUNCTIONS]
        for number, p in enumerate(probes):
            values = {"database": p.database, "one": p.one, "other": p.other, "kept": p.kept, "most": str(ROWS)}
            statements = client.feed(assets.sql("mysql/rows.sql"), values)
            lines.append(f'n=$({statements} | administer 2>/dev/null) && echo "{number}|$n" || :')
        return "\n".join(lines)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[tuple[int, int] | None]:
        return counted(output, len(probes))
