"""A PostgreSQL that this tool did not make, as the host sees it with the login that was given."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import printable, word
from provisioner.engine.resource import Change, HostResource
from provisioner.resources.dbms import ServerLook
from provisioner.resources.paths import ABSENT, PathProbe
from provisioner.resources.remote_database import HEAD, RemoteTables
from provisioner.runtime import programs
from provisioner.secrets import Secret
from provisioner.values import dataclass

PYTHON = "/usr/bin/python3"
_WHAT = ("role", "database")


@dataclass(frozen=True)
class Login:
    """A name and its password."""

    user: str
    password: Secret = field(repr=False)

    def asked(self) -> dict[str, str]:
        """For runtime/external_database.py, revealed."""
        from provisioner.resources.postgresql.scram import prepared

        password = self.password.reveal()
        return {"user": self.user, "password": password, "prepared": prepared(password).decode("utf-8", "replace")}


@dataclass(frozen=True)
class Place:
    """A database, the way to it, and the login that MLflow has."""

    hosts: tuple[tuple[str, int], ...]
    mode: str
    target: str
    roots: str = field(repr=False)
    """PEM, or the path of a file of many on the host."""
    name: str
    login: Login
    admin: Login | None = None
    """Who makes role and database where they are missing; never kept."""

    def call(self, work: str, python: str) -> str:
        """sh: `look` or `create`. The passwords are in the environment of a process of root's, not in an argument."""
        from provisioner.resources.postgresql.scram import verifier

        asked = {
            "hosts": self.hosts,
            "mode": self.mode,
            "target": self.target,
            "roots": self.roots,
            "name": self.name,
            **self.login.asked(),
            "admin": self.admin.asked() if self.admin is not None else None,
            "verifier": verifier(self.login.password).reveal() if work == "create" else "",
        }
        return (
            f"PROVISION_DATABASE={word(json.dumps(asked))} "
            f"{programs.call('external_database', work, interpreter=python)}"
        )

    def digest(self, key: Secret) -> str:
        """Tells this place and login from any other. `key`: a secret of this tool's own making, without which nobody
        can try passwords against it."""
        parts = (*(f"{host}:{port}" for host, port in self.hosts), self.mode, self.target, self.roots, self.name)
        login = (self.login.user, self.login.password.reveal())
        return hmac.new(key.reveal().encode(), "\0".join((*login, *parts)).encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Told:
    """What came of a look."""

    word: str = ""
    """`ok`, `missing`, or what is in the way (runtime/external_database.py)."""
    said: str = ""
    database: RemoteTables | None = None
    missing: tuple[str, ...] = ()
    """Of role and database, what the administrator may make."""
    version: str = ""
    away: tuple[str, ...] = ()
    """Addresses that do not answer, while another one does."""
    makes: bool = False
    """The role may make roles or databases."""

    def migrated(self, revision: str) -> Self:
        return replace(self, database=replace(self.database or RemoteTables(), tables=71, revision=revision))


@dataclass(frozen=True)
class ExternalLook(ServerLook[Told]):
    """A look that needs nothing on the host but its Python, and changes nothing."""

    place: Place
    python: str
    database: str

    kind: ClassVar[str] = "external-database"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        asked = [probe.place.call("look", probe.python) for probe in probes]
        return "\n".join(f'{{ {each}\n}} || echo \'{{"told": "host", "said": ""}}\'' for each in asked)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[Told]:
        return [read(line) for line in output.decode("utf-8", "replace").splitlines()]


def read(line: str) -> Told:
    """One line of runtime/external_database.py; ValueError for any other."""
    found = json.loads(line)
    told = found.get("told") if isinstance(found, dict) else None
    if not isinstance(told, str) or not re.fullmatch(r"[a-z]{1,20}", told):
        raise ValueError("not what a look tells")
    missing = tuple(each for each in _WHAT if each in _list(found.get("missing")))
    database: RemoteTables | None = None
    if told == "ok":
        tables, revision, which = found.get("tables"), found.get("revision"), found.get("which")
        if isinstance(tables, bool) or not isinstance(tables, int) or not 0 <= tables < 2**31:
            raise ValueError("not a number of tables")
        if not isinstance(revision, str) or not re.fullmatch(r"[0-9a-zA-Z_]{0,64}", revision):
            raise ValueError("not a schema's version")
        if not isinstance(which, str) or not re.fullmatch(r"[\w./:-]{1,200}", which):
            raise ValueError("not the name of a database")
        database = RemoteTables(tables, revision, which)
    return Told(
        told,
        printable(str(found.get("said") or ""))[:300],
        database,
        missing,
        printable(str(found.get("version") or ""))[:60],
        tuple(printable(each)[:300] for each in _list(found.get("away")))[:8],
        found.get("makes") is True,
    )


def _list(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


@dataclass(frozen=True, kw_only=True)
class ExternalDatabase(HostResource):
    """Role and database are there: made where they were not, by the administrator that was given. Everything else
    that is in the way is refused before a run, by the step.

    While it is made a file beside the marks says so: a run that was cut off is taken up by the next one, to which the
    database may look as if all had been done."""

    patience: ClassVar[float] = 600.0

    place: Place = field(repr=False)
    look: ExternalLook | None
    """None: it was proven, and is not asked for again."""
    identity: str
    """The file that says which database it is: what is made is named there at once, before anything reads it."""

    @property
    def making(self) -> PathProbe:
        """The file that is there while it is made."""
        return PathProbe(f"/etc/provision/making.database.{self.place.name}", read=False)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.making, *((self.look,) if self.look is not None else ()))

    def diff(self, seen: Seen) -> Change | None:
        told = seen.get(self.look) if self.look is not None else None
        if told is None or told.word != "missing" or not told.missing:
            if seen[self.making].kind == "absent":
                return None
            return Change("run", "it was cut off while it was made", title=f"database {self.place.name}")
        made = {"role": f"role {self.place.login.user}", "database": f"database {self.place.name}"}
        title = " and ".join(made[each] for each in told.missing)
        return Change("create", "absent", title=f"{title} at {self.place.hosts[0][0]}")

    def after(self, seen: Seen) -> Seen:
        told = seen.get(self.look) if self.look is not None else None
        if self.look is not None and told is not None and told.word == "missing":
            seen = seen.put(self.look, Told("ok", database=RemoteTables(0, "", "")))
        return seen.put(self.making, ABSENT)

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = []
        for database, _ in items:
            path, folder = word(database.identity), word(database.identity.rsplit("/", 1)[0])
            python = database.look.python if database.look is not None else PYTHON
            making = word(database.making.path)
            parts += [
                "[ -d /etc/provision ] || mkdir -p -m 0755 /etc/provision",
                f": >{making}",
                f"made=$({database.place.call('create', python)})",
                'case $made in *\'"told": "ok"\'*) ;;',
                '*) echo "role and database were not made: $made" >&2; exit 1;; esac',
                'which=$(printf \'%s\\n\' "$made" | sed -n \'s/.*"which": "\\([^"]*\\)".*/\\1/p\')',
                '[ -n "$which" ]',
                f"[ -d {folder} ] || mkdir -p -m 0755 {folder}",
                f"keep {path}",
                f"printf '%s\\n%s\\n' {word(HEAD)} \"$which\" >{path}.provision-new",
                f"chown root:root {path}.provision-new; chmod 0644 {path}.provision-new",
                f"mv -f -T -- {path}.provision-new {path}",
                f"rm -f -- {making}",
            ]
        return "\n".join(parts)
