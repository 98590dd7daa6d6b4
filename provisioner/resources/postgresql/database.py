"""A database owned by its role, and the file that says which database it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from provisioner import assets
from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import word
from provisioner.engine.resource import UNKNOWN, Change, HostResource, Unknown
from provisioner.errors import Refused
from provisioner.resources.mark import MarkProbe, made
from provisioner.resources.paths import PathProbe, PathState, ago
from provisioner.resources.postgresql import psql
from provisioner.resources.postgresql.server import DatabaseState, ServerProbe, ServerState
from provisioner.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Database(HostResource):
    """UTF8 whatever the cluster's default is. Collation C: the order of text is that of its bytes,
    and no upgrade of glibc can spoil an index; character types of C.UTF-8, so that upper and lower
    case of every script are known to ILIKE."""

    name: str
    owner: str
    limit: int
    """Connections that its role may have."""
    server: ServerProbe
    fresh: bool = False
    guest: bool = False

    @property
    def mark(self) -> MarkProbe:
        return MarkProbe(f"database.{self.name}")

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.server, self.mark)

    def diff(self, seen: Seen) -> Change | None:
        state, title = seen[self.server], f"database {self.name}"
        marked = seen[self.mark]
        if state.database is None:
            if not state.running and not self.fresh:
                return Change("check", "seen only while PostgreSQL runs", title=title)
            if not marked:
                return Change("create", "absent", title=title)
            return Change(
                "create",
                "it was here and is gone",
                title=title,
                loss=f"database {self.name} is created empty: what it held comes back only from a backup",
            )
        refuse_encoding(self.name, state)
        reasons = self._reasons(state.database)
        if not reasons and marked:
            return None
        asks = None
        if self.guest and not marked:
            asks = f"the database {self.name} was there before and becomes this stack's"
        return Change("change", ", ".join(reasons) or "not marked as this stack's", title=title, asks=asks)

    def _reasons(self, database: DatabaseState) -> list[str]:
        reasons = []
        if database.owner != self.owner:
            reasons.append(f"owner {database.owner}, wanted {self.owner}")
        if not database.open:
            reasons.append("it accepts no connections")
        if 0 <= database.limit < self.limit:
            reasons.append(f"connection limit {database.limit}, wanted none")
        if not database.connect:
            reasons.append(f"{self.owner} may not connect")
        if not database.schema:
            reasons.append(f"{self.owner} may not create tables in schema public")
        if database.foreign:
            reasons.append(f"{database.foreign} of its tables are owned by another role")
        return reasons

    def after(self, seen: Seen) -> Seen:
        state = seen[self.server]
        # Behind a stopped server there may be tables: only a database that is made now has none.
        tables = 0 if state.running or self.fresh else None
        was = state.database or DatabaseState(oid=UNKNOWN, tables=tables)
        limit = was.limit if was.limit >= self.limit else -1
        database = replace(was, owner=self.owner, open=True, limit=limit, connect=True, schema=True, foreign=0)
        return seen.put(self.server, replace(state, database=database)).put(self.mark, True)

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = []
        for database, _ in items:
            variables = {"role": database.owner, "database": database.name, "limit": str(database.limit)}
            parts += [
                psql.running(database.server.version),
                f"{psql.feed(assets.sql('postgresql/database.sql'), variables)} | administer postgres",
                made(database.mark.name),
            ]
        return "\n".join(parts)


def refuse_encoding(name: str, state: ServerState) -> None:
    """Refused (exit 4) for a database that cannot hold every text; it is never dropped to mend that."""
    if state.database is not None and state.database.encoding != "UTF8":
        raise Refused(
            f"database {name} has the encoding {state.database.encoding}, MLflow needs UTF8",
            why="the encoding of a database cannot be changed, and what it holds is not this tool's to drop",
            next=f"move it away and run again: sudo -u postgres psql -c "
            f'"ALTER DATABASE {name} RENAME TO {name}_{state.database.encoding.lower()}"',
        )


@dataclass(frozen=True, kw_only=True)
class Identity(HostResource):
    """A file that names the very database: a unit that has it among its inputs is restarted when
    another database took the place of the one it knew."""

    path: str
    server: ServerProbe
    fresh: bool = False

    @property
    def file(self) -> PathProbe:
        return PathProbe(self.path)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.server, self.file)

    def diff(self, seen: Seen) -> Change | None:
        state, file = seen[self.server], seen[self.file]
        if file.kind == "absent":
            return Change("create", "absent", title=self.path)
        if file.kind != "file" or (file.mode, file.owner, file.group) != (0o644, "root", "root"):
            return Change("change", "not a plain file of root, mode 0644", title=self.path)
        if state.system == _ASSUMED or file.content is UNKNOWN:
            return None
        if not state.running and not self.fresh:
            return Change("check", "seen only while PostgreSQL runs", title=self.path)
        wanted = _content(state)
        if file.content == wanted:
            return None
        if not isinstance(wanted, bytes):
            return Change("change", "it names another database than the new one", title=self.path)
        return Change("change", f"it names another database; written {ago(file.age)}", title=self.path)

    def after(self, seen: Seen) -> Seen:
        state, file = seen[self.server], seen[self.file]
        if not state.running and not self.fresh and isinstance(file.content, bytes):
            # Nothing says that it changes: what reads it need not restart for that.
            seen = seen.put(self.server, replace(state, system=_ASSUMED))
            return seen.put(self.file, replace(file, kind="file", mode=0o644, owner="root", group="root"))
        wanted = _content(state)
        content = UNKNOWN if wanted is None else wanted
        return seen.put(self.file, PathState("file", 0o644, "root", "root", content))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = []
        for identity, _ in items:
            path, folder = word(identity.path), word(identity.path.rsplit("/", 1)[0])
            variables = {"database": identity.server.database}
            parts += [
                psql.running(identity.server.version),
                f"[ -d {folder} ] || mkdir -p -m 0755 {folder}",
                f'{psql.feed(assets.sql("postgresql/identity.sql"), variables)} | administer postgres >"$T/identity"',
                '[ -s "$T/identity" ]',
                f"keep {path}",
                f"if [ -d {path} ] && ! [ -L {path} ]; then rm -rf -- {path}; fi",
                f'cat "$T/identity" >{path}.provision-new',
                f"chown root:root {path}.provision-new; chmod 0644 {path}.provision-new",
                f"mv -f -T -- {path}.provision-new {path}",
            ]
        return "\n".join(parts)


_ASSUMED = "as the file names it"
_IDENTITY = "# Written by provision: the database that this stack uses. It is no setting.\nsystem {} database {}\n"


def _content(state: ServerState) -> bytes | Unknown | None:
    """None while the server is down."""
    if state.database is None:
        return None
    if not isinstance(state.system, str) or not isinstance(state.database.oid, int) or not state.running:
        return UNKNOWN
    return _IDENTITY.format(state.system, state.database.oid).encode()
