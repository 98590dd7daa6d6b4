"""What a running PostgreSQL says of itself: one psql for everything a run wants to know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, ClassVar, Self

from provisioner import assets
from provisioner.engine.quoting import printable
from provisioner.engine.resource import Unknown
from provisioner.resources.dbms import ServerLook
from provisioner.resources.postgresql import psql
from provisioner.secrets import Secret
from provisioner.values import dataclass

ATTRIBUTES = ("login", "superuser", "createdb", "createrole", "replication", "bypassrls", "inherit")


@dataclass(frozen=True)
class RoleState:
    """A role as the catalogue has it."""

    attributes: frozenset[str] = frozenset()
    """Those of ATTRIBUTES that it has."""
    limit: int = -1
    """Connections at once; -1: no limit."""
    password: Secret | Unknown | None = field(default=None, repr=False)
    """The catalogue's verifier; UNKNOWN: set by a change of this plan."""
    until: str | None = None
    """When its password ends."""
    settings: frozenset[str] = frozenset()
    """Names of the settings it carries in every database."""
    groups: frozenset[str] = frozenset()
    """Roles it is a member of."""


@dataclass(frozen=True)
class DatabaseState:
    """A database as the catalogue has it."""

    oid: int | Unknown = 0
    owner: str = ""
    encoding: str = "UTF8"
    collate: str = "C.UTF-8"
    open: bool = True
    """It accepts connections at all."""
    limit: int = -1
    size: int = 0
    """Bytes."""
    connect: bool = True
    """The role may connect and make temporary tables."""
    tables: int | None = None
    """In schema public; None when the database could not be looked into."""
    foreign: int = 0
    """Of them and of views and sequences: owned by another role."""
    schema: bool = True
    """The role may create tables in schema public."""
    revision: str = ""
    """alembic_version of MLflow's schema; empty when there is none."""

    @property
    def unused(self) -> bool:
        """A migration that fails is undone whole: there is never a part of one."""
        return False


@dataclass(frozen=True)
class Setting:
    """A setting's value, where it comes from, and whether it waits for a restart."""

    value: str
    restart: bool = False
    """Only a restart changes it."""
    source: str | None = None
    """The file that decided it, of the running server."""
    pending: bool = False
    """Its file says another value, which waits for a restart."""


@dataclass(frozen=True)
class FileSetting:
    """A line of a configuration file as it is on disk now; the last one of a name wins."""

    path: str
    line: int
    name: str
    value: str
    error: str | None = None


@dataclass(frozen=True)
class ServerState:
    """`running` is False when no server of the cluster answers; `error` tells why one that has a
    process does not. Everything else is then empty."""

    running: bool = False
    error: str = ""
    port: int = 0
    version: str = ""
    system: str | Unknown = ""
    """The system identifier that initdb made."""
    recovery: bool = False
    """A standby: it cannot be written."""
    unrecorded: bool = False
    """It read its files once more after systemd's last start or reload: `pg_reload_conf()`."""
    settings: Mapping[str, Setting] = field(default_factory=dict, hash=False)
    restart: frozenset[str] = frozenset()
    """Names of the settings that only a restart changes."""
    files: tuple[FileSetting, ...] = ()
    hba_errors: tuple[str, ...] = ()
    role: RoleState | None = None
    database: DatabaseState | None = None

    @property
    def speaks_tls(self) -> bool:
        """`ssl = on`; off is the program's default, and then no file may name it."""
        known = self.settings.get("ssl")
        return known is not None and known.value == "on"

    def migrated(self, revision: str) -> ServerState:
        """As it will be seen once the database has the tables of `revision`."""
        return replace(self, database=replace(self.database or DatabaseState(), tables=71, revision=revision))

    def foreign_value(self, name: str, own: str) -> str | None:
        """What the files say of a setting without the file `own`."""
        return next((line.value for line in reversed(self.files) if line.name == name and line.path != own), None)

    def shadows(self, names: Iterable[str], own: str) -> tuple[FileSetting, ...]:
        """The lines after `own` that override its settings."""
        order = [line.path for line in self.files]
        last = max((n for n, path in enumerate(order) if path == own), default=None)
        if last is None:
            return ()
        wanted = set(names)
        return tuple(line for line in self.files[last + 1 :] if line.name in wanted)


DOWN = ServerState()


@dataclass(frozen=True)
class ServerProbe(ServerLook[ServerState]):
    """The server of cluster VERSION/main, and in it one role and one database."""

    version: str
    role: str
    database: str

    kind: ClassVar[str] = "postgresql"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        # The statements once, whatever the number of versions: they are most of what is sent.
        lines = [psql.READ_ONLY, f"statements() {{\n{psql.feed(assets.sql('postgresql/state.sql'))}\n}}"]
        for number, probe in enumerate(probes):
            lines.append(
                f"[ ! -e /etc/postgresql/{probe.version}/main ] || (\n{psql.running(probe.version)}\n"
                f'[ -n "$port" ] || exit 0\n'
                f"{{ {psql.feed('', {'role': probe.role, 'database': probe.database})}; statements; }}"
                f' | administer postgres >"$T/pg{number}" 2>"$T/pg{number}.err" || :\n'
                f'printf "server {number} %s\\n" "$port"\n'
                f"record=/run/provision/postgresql@{probe.version}-main.service\n"
                'echo "recorded $(date -r "$record" +%s.%N 2>/dev/null)"\n'
                f'cat "$T/pg{number}"\n'
                f'head -c 2000 "$T/pg{number}.err" | sed "s/^/error /"\n)'
            )
        return "\n".join([*lines, ":"])

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[ServerState]:
        answers: dict[int, tuple[int, dict[str, Any], list[str]]] = {}
        current: tuple[int, dict[str, Any], list[str]] = (0, {}, [])
        for line in output.decode("utf-8", "replace").splitlines():
            if line.startswith("server "):
                _, number, port = line.split(" ")
                current = answers[int(number)] = (int(port), {}, [])
            elif line.startswith("recorded "):
                current[1]["recorded"] = float(line[9:] or 0)
            elif line.startswith("{"):
                current[1].update(json.loads(line))
            elif line.startswith("error "):
                current[2].append(printable(line[6:]))
        for index in range(len(probes)):
            if index not in answers:
                yield DOWN
                continue
            listening, document, errors = answers[index]
            error = "\n".join(errors)
            answered = "system" in document
            yield _state(document, listening, error) if answered else replace(DOWN, error=error or "no answer")


def _state(document: dict[str, Any], port: int, error: str) -> ServerState:
    return ServerState(
        running=True,
        error=error,
        port=port,
        version=str(document["version"]).split(" ")[0][:20],
        system=str(document["system"]),
        recovery=bool(document["recovery"]),
        unrecorded=_unrecorded(float(document["started"]), float(document["loaded"]), document["recorded"]),
        settings={
            name: Setting(str(value), bool(restart), source, bool(pending))
            for name, (value, restart, source, pending) in document["settings"].items()
        },
        restart=frozenset(document["restart"]),
        files=tuple(
            FileSetting(str(path), int(line or 0), str(name or ""), str(value or ""), error)
            for path, line, name, value, error in document["files"]
        ),
        hba_errors=tuple(f"line {line}: {printable(str(error))}"[:200] for line, error in document["hba"]),
        role=_role(document["role"]) if document["role"] else None,
        database=_database(document) if document["database"] else None,
    )


def _unrecorded(started: float, loaded: float, recorded: float) -> bool:
    """At its start it reads its files before the time of start is taken; a reload's signal is
    handled within moments of the record, on a busy machine within a second."""
    return loaded > started and loaded > recorded + 1.0


def _role(values: dict[str, Any]) -> RoleState:
    password = values["password"]
    return RoleState(
        attributes=frozenset(name for name in ATTRIBUTES if values[name]),
        limit=int(values["limit"]),
        password=Secret(str(password)) if password else None,
        until=values["until"],
        settings=frozenset(values["settings"]),
        groups=frozenset(values["groups"]),
    )


def _database(document: dict[str, Any]) -> DatabaseState:
    values = document["database"]
    return DatabaseState(
        oid=int(values["oid"]),
        owner=str(values["owner"]),
        encoding=str(values["encoding"]),
        collate=str(values["collate"]),
        open=bool(values["open"]),
        limit=int(values["limit"]),
        size=int(values["size"]),
        connect=bool(values["connect"]),
        tables=document.get("tables"),
        foreign=int(document.get("foreign", 0)),
        schema=bool(document.get("schema", True)),
        revision=str(document.get("revision") or "")[:64],
    )
