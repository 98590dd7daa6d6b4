"""What a running MySQL or MariaDB says of itself: one client for everything a run wants to know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, ClassVar, Self

from provisioner import assets
from provisioner.engine.quoting import emit, printable
from provisioner.engine.resource import UNKNOWN, Unknown
from provisioner.resources.dbms import ServerLook
from provisioner.resources.mysql import DATA, client
from provisioner.secrets import Secret
from provisioner.values import dataclass

CHARSET, COLLATION = "utf8mb4", "utf8mb4_bin"
"""The packaged default collations are case-insensitive: params `Case` and `case` of one run are then a duplicate."""
VARIABLES = (
    "bind_address",
    "character_set_server",
    "collation_server",
    "log_bin_trust_function_creators",
    "max_allowed_packet",
    "max_connections",
    "skip_name_resolve",
    "ssl_cert",
    "ssl_key",
)
_VARIABLE = re.compile(r"([a-z][a-z0-9_]{0,63})\t(.*)")


@dataclass(frozen=True)
class AccountState:
    """A login: a user name as it comes from one host."""

    plugin: str = ""
    password: Secret | Unknown = field(default=Secret(""), repr=False)
    """What the catalogue keeps of it, in hexadecimal; UNKNOWN: set by a change of this plan."""
    locked: bool = False
    expired: bool = False
    others: bool = False
    """It may log in by another plugin besides."""
    tls: int = 0
    """0: it need not use TLS; 1: it must; more: it must show a certificate besides."""
    limit: int = 0
    """Connections at once; 0: no limit."""
    roles: int = 0
    privileges: frozenset[str] = frozenset()
    """In every database."""
    grants: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    """Name of a database as in a grant -> privileges on it."""
    more: bool = False
    """Privileges on single tables, or the right to grant them."""


@dataclass(frozen=True)
class DatabaseState:
    """A database as the catalogue has it."""

    charset: str = CHARSET
    collation: str = COLLATION
    tables: int | None = None
    size: int = 0
    """Bytes, about."""
    columns: int = 0
    """Of its tables, with text of another collation."""
    used: bool = False
    """A table has a row."""
    revision: str = ""
    """alembic_version of MLflow's schema; empty when there is none."""
    identity: str | Unknown = ""
    """Differs between this database and one of the same name that was made after it."""

    @property
    def unused(self) -> bool:
        """Statements that change tables are not undone when a migration fails: there may be a part of one."""
        return bool(self.tables) and not self.used


@dataclass(frozen=True)
class ServerState:
    """`running` is False when no server answers its administrator; `error` tells why one that is there does not."""

    running: bool = False
    error: str = ""
    version: str = ""
    port: int = 0
    log_bin: bool = False
    read_only: bool = False
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)
    accounts: Mapping[str, AccountState] = field(default_factory=dict, hash=False)
    """By host."""
    database: DatabaseState | None = None

    def migrated(self, revision: str) -> ServerState:
        """As it will be seen once the database has the tables of `revision`."""
        return replace(self, database=replace(self.database or DatabaseState(), tables=65, revision=revision))


DOWN = ServerState()


@dataclass(frozen=True)
class ServerProbe(ServerLook[ServerState]):
    """The server, and in it one user name and one database."""

    user: str
    database: str
    variables: tuple[str, ...] = ()
    """Names of settings besides VARIABLES."""

    kind: ClassVar[str] = "mysql"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        lines = [f"[ -S {client.SOCKET} ] || exit 0", client.FUNCTIONS]
        for number, probe in enumerate(probes):
            lines += [f"echo 'server {number}'", _look(probe)]
        return "\n".join([*lines, ":"])

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[ServerState]:
        answers: dict[int, list[str]] = {}
        for line in output.decode("utf-8", "replace").splitlines():
            if re.fullmatch(r"server \d{1,3}", line):
                answers[int(line[7:])] = []
            elif answers:
                answers[max(answers)].append(line)
        for index in range(len(probes)):
            yield _state(answers.get(index, []))


def _look(probe: ServerProbe) -> str:
    values = {"user": probe.user, "grantee": f"'{probe.user}'@", "database": probe.database}
    names = ", ".join(client.literal(name) for name in (*VARIABLES, *probe.variables))

    def text(name: str) -> str:
        return emit(client.statements(assets.sql(f"mysql/{name}.sql"), values).replace("@NAMES@", names).encode())

    # Accounts by the catalogue of each; the rest is one language.
    return (
        f"{{\n{text('state')}\nif [ -x /usr/sbin/mariadbd ]; then\n{text('accounts_mariadb')}\nelse\n"
        f"{text('accounts_mysql')}\nfi\n{text('used')}\n{text('variables')}\n"
        f'}} | administer >"$T/mysql" 2>"$T/mysql.err" || :\n'
        'cat "$T/mysql"\nhead -c 2000 "$T/mysql.err" | sed "s/^/error /"\n'
        'd=$(sed -n \'s/^.*"datadir": *"\\([^"\\\\]*\\)".*/\\1/p\' "$T/mysql" | head -n 1)\n'
        f"{identity(probe.database)}"
    )


def identity(database: str) -> str:
    """sh: prints `identity TEXT` of a database below $d. MariaDB writes db.opt when it makes one (its time survives
    a copy of the files), of MySQL's directory the time of birth is taken."""
    return (
        f'd="${{d:-{DATA}}}/{database}"\n'
        'if [ -f "$d/db.opt" ]; then echo "identity $(stat -c %.Y "$d/db.opt")"\n'
        'elif [ -d "$d" ]; then echo "identity $(stat -c %i.%W "$d")"; fi'
    )


def _state(lines: list[str]) -> ServerState:
    document: dict[str, Any] = {}
    accounts: dict[str, dict[str, Any]] = {}
    grants: list[tuple[str, list[Any]]] = []
    variables: dict[str, str] = {}
    errors: list[str] = []
    marks: dict[str, str] = {}
    for line in lines:
        kind, _, rest = line.partition(" ")
        if line.startswith("{"):
            found = json.loads(line)
            if "account" in found:
                accounts[str(found["account"]["host"])] = found["account"]
            elif found.keys() & {"global", "grants", "more"}:
                ((name, value),) = found.items()
                grants.append((name, value if isinstance(value, list) else [value]))
            else:
                document |= found
        elif kind in {"used", "identity"}:
            marks[kind] = rest
        elif kind == "error":
            errors.append(printable(rest))
        elif match := _VARIABLE.fullmatch(line):
            variables[match[1]] = match[2]
    error = "\n".join(errors)
    if "version" not in document or error:
        return replace(DOWN, error=error or ("no answer" if lines else ""))
    return ServerState(
        running=True,
        version=re.split(r"[-~ ]", str(document["version"]))[0][:20],
        port=int(document["port"]),
        log_bin=bool(document["log_bin"]),
        read_only=bool(document["read_only"]),
        variables=variables,
        accounts={host: _account(host, values, grants) for host, values in accounts.items()},
        database=_database(document, marks) if "database" in document else None,
    )


def _account(host: str, values: dict[str, Any], grants: list[tuple[str, list[Any]]]) -> AccountState:
    mine = [(kind, value[1:]) for kind, value in grants if str(value[0]).endswith(f"@'{host}'")]
    return AccountState(
        plugin=str(values["plugin"] or ""),
        password=Secret(str(values["password"])),
        locked=bool(values["locked"]),
        expired=bool(values["expired"]),
        others=bool(values["others"]),
        tls=int(values["tls"]),
        limit=int(values["limit"]),
        roles=int(values["roles"]),
        privileges=frozenset(str(value[0]) for kind, value in mine if kind == "global"),
        grants={str(v[0]): frozenset(str(v[1]).split(",")) for kind, v in mine if kind == "grants"},
        more=any(kind == "more" or (kind == "grants" and v[2] == "YES") for kind, v in mine),
    )


def _database(document: dict[str, Any], marks: Mapping[str, str]) -> DatabaseState:
    values = document["database"]
    return DatabaseState(
        charset=str(values["charset"]),
        collation=str(values["collation"]),
        tables=int(document["tables"]),
        size=int(float(document["size"])),
        columns=int(document["columns"]),
        used=marks.get("used") != "0",
        revision=str(document.get("revision") or "")[:64],
        identity=marks.get("identity") or UNKNOWN,
    )
