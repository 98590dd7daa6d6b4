"""A database that is not this tool's: a PostgreSQL of a service, of Patroni, of another team. Nothing is installed;
what MLflow needs of it is looked at from its own host, before anything is changed there.

Who is given an administrator's login (database.admin.user and database.admin.password of [secrets]) makes the role and
the database where they are missing, and keeps that login nowhere. The role is never a superuser.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from provisioner.certificates.material import certificates
from provisioner.database_url import DatabaseUrl, parse
from provisioner.engine.check import Check
from provisioner.engine.probe import Look, Probe
from provisioner.engine.resource import Resource
from provisioner.resources.certificate import HEAD
from provisioner.resources.external_database import ExternalDatabase, ExternalLook
from provisioner.resources.external_look import Told
from provisioner.resources.external_way import Login, Place
from provisioner.resources.file import File
from provisioner.resources.mark import HAD, MarkProbe
from provisioner.resources.paths import PathProbe
from provisioner.resources.remote_database import RemoteDatabase, RemoteRows, identity
from provisioner.runtime.database_look import address
from provisioner.secrets import Secret
from provisioner.settings import Settings
from provisioner.steps import Context, own_accounts
from provisioner.steps.database import IDENTITY
from provisioner.steps.database_uri import CA, external
from provisioner.steps.external_findings import findings
from provisioner.values import dataclass

if TYPE_CHECKING:
    from provisioner.steps.host_certificates import HostCertificate

PROVEN = "/etc/provision/database-proven"
PUBLIC = "/etc/ssl/certs/ca-certificates.crt"
NAME = "external-database"
ADMIN = ("database.admin.user", "database.admin.password")
_ENVIRONMENT, _ENV_FILE = "/opt/mlflow/{}", "/etc/mlflow/mlflow.env"


@dataclass(frozen=True)
class External:
    """Role and database, when the server is somebody else's."""

    name: str = NAME
    summary: str = "a PostgreSQL database that you have"
    needs: tuple[str, ...] = ()
    provides: str = "database"
    roles: tuple[str, ...] = ("mlflow",)
    engine: str = "external"
    port: int = 5432
    data: str = ""

    def applies(self, settings: Settings) -> bool:
        return settings.database.engine == self.engine

    def looks(self, context: Context) -> Sequence[Look[Any]]:
        asked = [_asked(context, name) for name in _names(context)]
        return (
            PathProbe(PROVEN),
            PathProbe(_ENV_FILE),
            PathProbe(IDENTITY),
            MarkProbe(_mark(context)),
            *(self.server(context, name) for name in _names(context)),
            *(each for each in asked if each is not None),
        )

    def resources(self, context: Context) -> Sequence[Resource]:
        name = context.settings.database.name
        found: list[Resource] = []
        files = tuple(zip(_names(context), (IDENTITY, own_accounts.IDENTITY), strict=False))
        for each, path in files:
            asked = _asked(context, each)
            made = ExternalDatabase(
                id=f"database:{each or name}",
                place=place(context, each),
                look=asked,
                identity=path,
                first=not each,
                needs=(*(one.id for one in found), *_one_by_one(context, asked)),
            )
            found.append(made)
        there = tuple(one.id for one in found)
        if root := _root(context):
            head = f"{HEAD.decode()}the root that the database's certificate leads to.\n"
            found.append(File(id="file:database-ca", path=CA, content=f"{head}{root}".encode()))
        for each, path in files:
            known = identity(_known(context, each))
            if known is not None:
                found.append(File(id=f"file:{path.rsplit('/', 1)[1]}", path=path, content=known))
        found += [
            File(
                id=f"mark:{_mark(context)}",
                path=f"{HAD}/{_mark(context)}",
                content=(
                    f"# Written by provision: this stack has its runs in the database {name} of a server that is not\n"
                    "# its own. While this file is here, another database is refused.\n"
                ).encode(),
                needs=there,
            ),
            File(
                id="file:database-proven",
                path=PROVEN,
                content=_proof(context),
                mode=0o600,
                hide=("*",),
                needs=there,
            ),
        ]
        return [resource.of(self.name) for resource in found]

    def preflight(self, context: Context) -> Iterable[Check]:
        asked, url = _asked(context), at(context.settings)
        told = context.seen.get(asked) if asked is not None else None
        failed = False
        if told is None:
            steady = context.seen.get(self.server(context))
            if steady is not None and steady.database is not None:
                told = Told("ok", database=steady.database)
        if told is not None:
            had = context.known(MarkProbe(_mark(context)), False)
            before = context.seen.get(PathProbe(IDENTITY))
            # Where the stack has runs and nothing says in which database, none is taken for it.
            kept = before.content if before is not None and isinstance(before.content, bytes) else b""
            checks = tuple(findings(told, url, context.settings, kept if had else None))
            failed = any(check.status == "fail" for check in checks)
            yield from checks
        if not failed and own_accounts.wanted(context):
            yield from _accounts(context)

    def headline(self, context: Context) -> str:
        return f"the database {context.settings.database.name} at {at(context.settings).shown}"

    def version(self, context: Context) -> str:
        return ""

    # What other steps ask (steps/dbms.py).

    def certificate(self, context: Context) -> HostCertificate | None:
        return None

    def unit(self, context: Context) -> str:
        return ""

    def servers(self, context: Context, database: str = "") -> tuple[RemoteDatabase, ...]:
        return (self.server(context, database),)

    def server(self, context: Context, database: str = "") -> RemoteDatabase:
        environment = _ENVIRONMENT.format(context.settings.mlflow.version)
        if database == own_accounts.database(context):
            return RemoteDatabase(environment, _ENV_FILE, database, own_accounts.VERSION_TABLE)
        return RemoteDatabase(environment, _ENV_FILE, database or context.settings.database.name)

    def state(self, context: Context) -> Any:
        return _known(context)

    def awaited(self, context: Context) -> str:
        return f"step:{NAME}"

    def databases(self, context: Context) -> Sequence[Resource]:
        return ()

    def uri(self, context: Context, database: str) -> Secret:
        return Secret(external(at(context.settings), context.settings, database, _password(context), trust(context)))

    def accounts_uri(self, context: Context, database: str) -> tuple[Secret, Mapping[str, Secret]]:
        return self.uri(context, database), {}

    def rows(self, context: Context, one: str, other: str, kept: str) -> Probe[tuple[int, int] | None]:
        environment = _ENVIRONMENT.format(context.settings.mlflow.version)
        return RemoteRows(environment, _ENV_FILE, one, other, kept)

    def buffers(self, settings: Settings) -> int:
        return 0


def at(settings: Settings) -> DatabaseUrl:
    """Where the database is; a loopback address in the guess."""
    return parse(settings.database.url or "postgresql://127.0.0.1/mlflow")


def trust(context: Context) -> str:
    """The file of roots on the host; empty where no certificate is looked at."""
    if at(context.settings).sslmode in ("disable", "require"):
        return ""
    return CA if context.settings.database.ca else PUBLIC


def _names(context: Context) -> tuple[str, ...]:
    """The databases: empty for MLflow's, and where it keeps accounts theirs."""
    return ("", own_accounts.database(context)) if own_accounts.wanted(context) else ("",)


def _accounts(context: Context) -> Iterable[Check]:
    """What is in the way of the accounts' database; all else was said of the first one, on the same server."""
    name = own_accounts.database(context)
    asked = _asked(context, name)
    told = context.seen.get(asked) if asked is not None else None
    if told is not None:
        settings = replace(context.settings, database=replace(context.settings.database, name=name))
        for check in findings(told, at(settings), settings, None):
            if check.status == "fail":
                yield replace(check, id=f"{check.id}-accounts")


def place(context: Context, name: str = "") -> Place:
    """The way to MLflow's database, or to another of that server's, with the same login."""
    settings, url = context.settings, at(context.settings)
    names = [context.secrets.get(name) if name in context.secrets else None for name in ADMIN]
    user, password = names
    roots = _root(context) if trust(context) == CA else trust(context)
    return Place(
        url.hosts,
        url.sslmode,
        url.session,
        roots,
        name or settings.database.name,
        Login(settings.database.user, _password(context)),
        Login(user.reveal(), password) if user is not None and password is not None else None,
    )


def _root(context: Context) -> str:
    packed = context.secrets.get("database.ca") if context.settings.database.ca else None
    if packed is None:
        return ""
    try:
        return certificates(tuple(base64.b64decode(each, validate=True) for each in packed.reveal().split(",")))
    except ValueError:
        return ""


def _password(context: Context) -> Secret:
    return context.secrets.get("database.password") or Secret("")


def _mark(context: Context) -> str:
    return f"database.{context.settings.database.name}"


def _proof(context: Context) -> bytes:
    head = "# Written by provision: this login and this database were tried from here and work."
    key = context.secrets.get("mlflow.flask-key") or Secret("")
    return "".join(f"{line}\n" for line in (head, *(place(context, n).digest(key) for n in _names(context)))).encode()


def _asked(context: Context, name: str = "") -> ExternalLook | None:
    """The look with the login that was given; None while the host was not seen, and where MLflow itself has this very
    login, proven once, and gets in. Whatever it has instead, or lacks, the run that repairs it must know better."""
    proven, variables = (context.seen.get(PathProbe(path)) for path in (PROVEN, _ENV_FILE))
    steady = context.seen.get(STEP.server(context, name))
    if proven is None or variables is None or steady is None:
        return None
    if (
        proven.kind == "file"
        and proven.content == _proof(context)
        and _used(variables.content) == STEP.uri(context, context.settings.database.name).reveal()
        and steady.database is not None
    ):
        return None
    return ExternalLook(place(context, name))


def _one_by_one(context: Context, asked: ExternalLook | None) -> tuple[str, ...]:
    """Of several hosts that see no database the first makes it, and the others find it made."""
    told = context.seen.get(asked) if asked is not None else None
    if told is None or not told.missing:
        return ()
    hosts = [member.name for member in context.here.topology.of("mlflow")]
    before = hosts[: hosts.index(context.name)] if context.name in hosts else []
    return (f"after:{NAME}@{before[-1]}",) if before else ()


def _used(variables: object) -> str:
    """The address in MLflow's environment file; empty for none."""
    try:
        return address(variables.decode()) if isinstance(variables, bytes) else ""
    except ValueError:
        return ""


def _known(context: Context, name: str = "") -> Any:
    """What was seen of a database: with the login that it shall have, else with MLflow's own environment."""
    from provisioner.resources.remote_database import RemoteState

    asked = _asked(context, name)
    told = context.seen.get(asked) if asked is not None else None
    if told is not None:
        return told
    return context.seen.get(STEP.server(context, name)) or RemoteState()


STEP = External()
