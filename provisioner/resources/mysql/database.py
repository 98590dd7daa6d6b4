"""A database whose text is compared byte by byte, and the file that says which database it is."""

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
from provisioner.resources.mysql import client
from provisioner.resources.mysql.server import CHARSET, COLLATION, DatabaseState, ServerProbe, ServerState, identity
from provisioner.resources.paths import PathProbe, PathState, ago
from provisioner.values import dataclass


@dataclass(frozen=True, kw_only=True)
class MysqlDatabase(HostResource):
    """utf8mb4 and utf8mb4_bin whatever the server's default is. One with tables of another collation is made
    anew while none of them has a row, and is never touched when one has."""

    name: str
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
                return Change("check", "seen only while the server runs", title=title)
            if not marked:
                return Change("create", "absent", title=title)
            return Change(
                "create",
                "it was here and is gone",
                title=title,
                loss=f"database {self.name} is created empty: what it held comes back only from a backup",
            )
        refuse_collation(self.name, state.database)
        reasons = []
        if state.database.columns:
            reasons.append(f"its empty tables have {state.database.columns} columns of another collation: made anew")
        elif state.database.collation != COLLATION:
            reasons.append(f"collation {state.database.collation}, wanted {COLLATION}")
        if not reasons and marked:
            return None
        asks = None
        if self.guest and not marked:
            asks = f"the database {self.name} was there before and becomes this stack's"
        return Change(
            "change",
            ", ".join(reasons) or "not marked as this stack's",
            title=title,
            asks=asks,
            payload="anew" if state.database.columns else "collation" if reasons else "",
        )

    def after(self, seen: Seen) -> Seen:
        state = seen[self.server]
        # Behind a stopped server there may be tables: only a database that is made now has none.
        tables = 0 if state.running or self.fresh else None
        was = state.database or DatabaseState(tables=tables, identity=UNKNOWN)
        if was.columns:
            was = DatabaseState(tables=0)
        # With other words in its db.opt MariaDB writes that anew.
        known = was.identity if (was.columns, was.collation) == (0, COLLATION) and state.database is was else UNKNOWN
        database = replace(was, charset=CHARSET, collation=COLLATION, identity=known)
        return seen.put(self.server, replace(state, database=database)).put(self.mark, True)

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = [client.FUNCTIONS]
        for database, change in items:
            values = {"database": database.name}
            if change.payload == "anew":
                # Looked at once more: somebody may have begun to use it.
                parts += [
                    f"used=$({client.feed(assets.sql('mysql/used.sql'), values)} | administer)",
                    f'[ "$used" = "used 0" ] || {{ echo {word(database.name)} is used meanwhile >&2; exit 1; }}',
                    f"{client.feed(assets.sql('mysql/drop.sql'), values)} | administer",
                ]
            parts += [
                f"{client.feed(assets.sql('mysql/database.sql'), values)} | administer",
                made(database.mark.name),
            ]
            if change.payload == "collation":
                parts.append(f"{client.feed(assets.sql('mysql/collation.sql'), values)} | administer")
        return "\n".join(parts)


def refuse_collation(name: str, database: DatabaseState) -> None:
    """Refused (exit 4) for tables with rows that compare or keep text in another way."""
    if database.columns and database.used:
        raise Refused(
            f"database {name} has {database.columns} columns of another collation than {COLLATION}",
            why="there `Case` and `case` are one and the same, or letters are lost; what it holds is not this "
            "tool's to convert",
            next="with MLflow stopped and a dump kept, for each table: "
            f"ALTER TABLE {name}.TABLE CONVERT TO CHARACTER SET {CHARSET} COLLATE {COLLATION}",
        )


@dataclass(frozen=True, kw_only=True)
class MysqlIdentity(HostResource):
    """A file that names the very database: a unit that has it among its inputs is restarted when another
    database took the place of the one it knew."""

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
        if state.version == _ASSUMED or file.content is UNKNOWN:
            return None
        if not state.running and not self.fresh:
            return Change("check", "seen only while the server runs", title=self.path)
        wanted = self._content(state)
        if file.content == wanted:
            return None
        if not isinstance(wanted, bytes):
            return Change("change", "it names another database than the new one", title=self.path)
        return Change("change", f"it names another database; written {ago(file.age)}", title=self.path)

    def after(self, seen: Seen) -> Seen:
        state, file = seen[self.server], seen[self.file]
        if not state.running and not self.fresh and isinstance(file.content, bytes):
            # Nothing says that it changes: what reads it need not restart for that.
            seen = seen.put(self.server, replace(state, version=_ASSUMED))
            return seen.put(self.file, replace(file, kind="file", mode=0o644, owner="root", group="root"))
        wanted = self._content(state)
        content = UNKNOWN if wanted is None else wanted
        return seen.put(self.file, PathState("file", 0o644, "root", "root", content))

    def _content(self, state: ServerState) -> bytes | Unknown | None:
        """None while the server is down."""
        if state.database is None:
            return None
        if not isinstance(state.database.identity, str) or not state.running:
            return UNKNOWN
        return _TEXT.format(self.server.database, state.database.identity).encode()

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = [client.FUNCTIONS]
        for item, _ in items:
            path, folder = word(item.path), word(item.path.rsplit("/", 1)[0])
            parts += [
                f"[ -d {folder} ] || mkdir -p -m 0755 {folder}",
                "d=$(echo 'SELECT @@datadir' | administer)",
                f'found=$(\n{identity(item.server.database)}\n)\n[ -n "$found" ]',
                f"keep {path}",
                f"if [ -d {path} ] && ! [ -L {path} ]; then rm -rf -- {path}; fi",
                f"printf '%s\\n%s\\n' {word(_HEAD)} {word(item.server.database)}\" ${{found#identity }}\" "
                f">{path}.provision-new",
                f"chown root:root {path}.provision-new; chmod 0644 {path}.provision-new",
                f"mv -f -T -- {path}.provision-new {path}",
            ]
        return "\n".join(parts)


_ASSUMED = "as the file names it"
_HEAD = "# Written by provision: the database that this stack uses. It is no setting."
_TEXT = _HEAD + "\n{} {}\n"
