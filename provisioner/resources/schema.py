"""The tables of the server in its database: made once, never moved by a plain run.

Looked at as PostgreSQL's administrator, without running anything the database's owner could have
put there: the version table is read only when it is an ordinary table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import emit, word
from provisioner.engine.resource import Change, HostResource
from provisioner.errors import Refused
from provisioner.runtime import mlflow as runtime

_DATABASE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,62}")
_HEAD = re.compile(r"[0-9a-f]{6,40}")

# psql's own conditional: a table that is not there cannot be named in one statement.
_LOOK = r"""
SET search_path = pg_catalog;
SELECT count(*) AS tables,
       count(*) FILTER (WHERE c.relname = 'alembic_version' AND c.relkind = 'r') AS versioned
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname = 'public' \gset
\echo tables :tables
SELECT :versioned > 0 AS known \gset
\if :known
SELECT 'head ' || version_num FROM ONLY public.alembic_version LIMIT 2;
\endif
"""

_FUNCTION = r"""
look() { # database
  for f in /var/run/postgresql/.s.PGSQL.5432 /var/run/postgresql/.s.PGSQL.*; do
    [ -S "$f" ] && break
  done
  [ -S "$f" ] || { echo closed; return 0; }
  p=; for q in /usr/lib/postgresql/*/bin/psql; do [ -x "$q" ] && p=$q; done
  [ -n "$p" ] || { echo closed; return 0; }
  @LOOK@ | ( cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups env -i \
    PATH=/usr/bin:/bin PGCONNECT_TIMEOUT=5 PGAPPNAME=provision \
    "PGOPTIONS=-c default_transaction_read_only=on -c statement_timeout=10s" \
    "$p" -X -q -A -t -v ON_ERROR_STOP=1 -h /var/run/postgresql -p "${f##*.}" -U postgres -d "$1" ) 2>/dev/null \
    || echo closed
}
"""


@dataclass(frozen=True)
class SchemaState:
    known: bool = False
    """False while the database does not answer or is not there."""
    tables: int = 0
    head: str = ""
    """Alembic's revision; empty when no table says one."""


@dataclass(frozen=True)
class SchemaProbe(Probe[SchemaState]):
    database: str

    kind: ClassVar[str] = "schemas"

    def __post_init__(self) -> None:
        if not _DATABASE.fullmatch(self.database):
            raise ValueError(f"not a usable database name: {self.database!r}")

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        lines = [_FUNCTION.replace("@LOOK@", emit(_LOOK.encode()))]
        for probe in probes:
            lines.append(f"echo '== schema'; look {word(probe.database)}")
        return "\n".join(lines)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[SchemaState]:
        _, *blocks = ("\n" + output.decode("utf-8", "replace")).split("\n== schema\n")
        for _, block in zip(probes, blocks, strict=True):
            lines = block.splitlines()
            if "closed" in lines or not lines:
                yield SchemaState()
                continue
            fields = dict(line.partition(" ")[::2] for line in lines)
            head = fields.get("head", "")
            yield SchemaState(
                True, int(fields["tables"]), head if _HEAD.fullmatch(head) else head and "unreadable"
            )


@dataclass(frozen=True, kw_only=True)
class Schema(HostResource):
    """The tables of one version. Another version's are refused (exit 4): moving them takes a dump
    first and has no way back."""

    patience: ClassVar[float] = 960.0

    database: str
    environment: str
    """Path of the Python environment whose schema it is."""
    env_file: str
    head: str = runtime.SCHEMA_HEAD
    version: str = runtime.VERSION

    @property
    def probe(self) -> SchemaProbe:
        return SchemaProbe(self.database)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe,)

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        title = f"tables of database {self.database}"
        if not state.known:
            return Change("run", "to be seen when the database answers", title=title)
        if state.head == self.head:
            return None
        if state.tables == 0:
            return Change("run", "no tables yet", title=title)
        if not state.head:
            # A run killed between making the first tables and migrating them leaves no version; whether
            # these are ours the upgrade itself decides, and refuses foreign ones.
            return Change("run", "tables without a version: an earlier run did not finish", title=title)
        raise Refused(
            f"database {self.database} holds the schema {state.head}, MLflow {self.version} works with {self.head}",
            why="it was made by another version of MLflow; moving it needs a dump first and has no way back",
            next="that is the work of `provision upgrade`; until then run the version that made it",
        )

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.probe, SchemaState(True, 1, self.head))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = []
        for schema, _ in items:
            parts.append("say 'making the tables'")
            parts.append(runtime.upgrade(schema.environment, env_file=schema.env_file, wait=60))
        return "\n".join(parts)
