"""A database on another host, as the service that uses it sees it: over the network, with the service's own login."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar, Self

from provisioner.engine.probe import Probe
from provisioner.engine.quoting import printable, word
from provisioner.resources.dbms import ROWS, ServerLook
from provisioner.runtime import programs
from provisioner.values import dataclass


@dataclass(frozen=True)
class RemoteTables:
    """One database."""

    tables: int | None = None
    revision: str = ""
    which: str = ""
    """Names the very database: another one that took its place has another."""
    unused: bool = False
    """No table has a row, and a migration that failed leaves a part behind."""


@dataclass(frozen=True)
class RemoteState:
    """What was seen of it; without a database `why` says what stood against it."""

    database: RemoteTables | None = None
    why: str = ""

    def migrated(self, revision: str) -> Self:
        return replace(
            self, database=replace(self.database or RemoteTables(), tables=71, revision=revision, unused=False)
        )


# Whoever did not answer was asked; of anything else (the environment may be half of one) nothing is known.
_NONE = """case $? in 124|137) echo '{"error": "no answer within 20 s"}' ;; *) echo '{}' ;; esac"""


def fragment(asked: Iterable[str]) -> str:
    """sh that asks what `asking` gave, line by line."""
    return "\n".join([programs.function("database_look"), *asked])


def asking(environment: str, *words: str, otherwise: str = "echo '{}'") -> str:
    """sh in a `fragment`: what the look says in one line, with the driver of `environment`."""
    python = word(f"{environment}/bin/python")
    return f"database_look timeout 20 {python} -I - {' '.join(map(word, words))} 2>/dev/null || {otherwise}"


@dataclass(frozen=True)
class RemoteDatabase(ServerLook[RemoteState]):
    """Seen only once the service's environment and its settings are there."""

    environment: str
    """Path of the Python environment whose driver asks."""
    env_file: str
    database: str
    version_table: str = "alembic_version"

    kind: ClassVar[str] = "remote-database"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        lines = []
        for p in probes:
            there = f"[ -x {word(f'{p.environment}/bin/python')} ] && [ -f {word(p.env_file)} ]"
            ask = asking(p.environment, p.env_file, p.version_table, p.database, otherwise=_NONE)
            lines.append(f"if {there}; then\n  {ask}\nelse echo '{{}}'; fi")
        return fragment(lines)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[RemoteState]:
        for line in output.decode("utf-8", "replace").splitlines():
            found = json.loads(line)
            if not isinstance(found, dict):
                raise ValueError("not an object")
            if "tables" not in found:
                yield RemoteState(why=printable(str(found.get("error", "")))[:300])
                continue
            tables, revision, which = found["tables"], found["revision"], found["which"]
            if isinstance(tables, bool) or not isinstance(tables, int) or not 0 <= tables < 2**31:
                raise ValueError("not a number of tables")
            if not isinstance(revision, str) or not re.fullmatch(r"[0-9a-zA-Z_]{0,64}", revision):
                raise ValueError("not a schema's version")
            if not isinstance(which, str) or not re.fullmatch(r"[\w./:-]{1,200}", which):
                raise ValueError("not the name of a database")
            yield RemoteState(RemoteTables(tables, revision, which, found.get("unused") is True))


HEAD = "# Written by provision: the database that this stack uses. It is no setting."
IDENTITY = HEAD + "\n{}\n"


def identity(state: RemoteState | None) -> bytes | None:
    """What the service's file says that names the very database; None while it is not seen."""
    if state is None or state.database is None or not state.database.which:
        return None
    return IDENTITY.format(state.database.which).encode()


@dataclass(frozen=True)
class RemoteRows(Probe[tuple[int, int] | None]):
    """How many rows two tables have whose column `kept` says active, up to ROWS."""

    environment: str
    env_file: str
    one: str
    other: str
    kept: str

    kind: ClassVar[str] = "remote-rows"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        return fragment(asking(p.environment, p.env_file, "rows", p.one, p.other, p.kept, str(ROWS)) for p in probes)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[tuple[int, int] | None]:
        for line in output.decode("utf-8", "replace").splitlines():
            found = json.loads(line)
            rows = found.get("rows") if isinstance(found, dict) else None
            if not isinstance(rows, list) or [type(each) for each in rows] != [int, int] or min(rows) < 0:
                yield None
            else:
                yield rows[0], rows[1]
