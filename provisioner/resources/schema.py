"""The tables of the server in its database: made once, never moved by a plain run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.resource import Change, HostResource
from provisioner.errors import Refused
from provisioner.resources.dbms import ServerLook
from provisioner.resources.unit import UnitProbe
from provisioner.runtime import mlflow as runtime
from provisioner.values import dataclass

WAIT = 120
"""Seconds in which the database must answer: it may still be on its way, made beside this."""


@dataclass(frozen=True, kw_only=True)
class Schema(HostResource):
    """The tables of one version. Another version's are refused (exit 4): moving them takes a dump
    first and has no way back."""

    patience: ClassVar[float] = 960.0

    environment: str
    """Path of the Python environment whose schema it is."""
    env_file: str
    server: ServerLook[Any]
    head: str = runtime.SCHEMA_HEAD
    version: str = runtime.VERSION
    accounts: bool = False
    """The tables of MLflow's own accounts, in a database of their own."""
    unit: str = ""
    """The server that is started anew once the tables were made, as it makes the first rows only at its start; empty
    where a file among its inputs says that the database is another one."""

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.server, *((UnitProbe(self.unit),) if self.unit else ()))

    def diff(self, seen: Seen) -> Change | None:
        database = seen[self.server].database
        title = f"tables of database {self.server.database}"
        if database is None or database.tables is None:
            return Change("check", "seen only while the database answers", title=title)
        if database.revision == self.head:
            return None
        if not database.revision:
            # A run killed between making the first tables and migrating them leaves no version; whether
            # these are ours the upgrade itself decides, and refuses foreign ones.
            unfinished = "tables without a version: an earlier run did not finish"
            return Change("run", unfinished if database.tables else "no tables yet", title=title)
        if database.unused:
            return Change("run", f"a migration ended at {database.revision}, nothing is in the tables", title=title)
        raise Refused(
            f"database {self.server.database} holds the schema {database.revision}, "
            f"MLflow {self.version} works with {self.head}",
            why="it was made by another version of MLflow; moving it needs a dump first and has no way back",
            next="keep the version that made it: this release of provision cannot move a database to another one",
        )

    def after(self, seen: Seen) -> Seen:
        database = seen[self.server].database
        if self.unit and database is not None and database.tables is not None:
            unit = UnitProbe(self.unit)
            seen = seen.put(unit, replace(seen[unit], record={}))
        return seen.put(self.server, seen[self.server].migrated(self.head))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = []
        for schema, _ in items:
            parts.append("say 'making the tables'")
            parts.append(
                runtime.upgrade(
                    schema.environment,
                    env_file=schema.env_file,
                    wait=WAIT,
                    accounts=schema.server.database if schema.accounts else "",
                )
            )
        return "\n".join(parts)
