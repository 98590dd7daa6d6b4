"""Ways from the operator's machine to the parts of a stack, for verify and the read-only check."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.certificates.material import trusted
from provisioner.commands.meeting import Roles
from provisioner.commands.view import View
from provisioner.door import Door
from provisioner.reserved import EXPOSED
from provisioner.secret_kinds import has_clients, own_database, own_store
from provisioner.secrets import Secret
from provisioner.settings import Settings
from provisioner.steps import external_store
from provisioner.steps.bucket import root as store_root
from provisioner.transport.base import Session
from provisioner.values import dataclass
from provisioner.verify.target import Connect, DirectStore, Target

if TYPE_CHECKING:
    from provisioner.verify.context import Database
    from provisioner.verify.s3 import StoreAccess

LOGIN = "mlflow"
"""The generated account's name."""


@dataclass(frozen=True)
class Access:
    """What verify needs of one stack: its URL and, through SSH, its database and store."""

    target: Target
    database: Database | None
    """None where MLflow has none."""
    store: StoreAccess | None


def through(path: Path, others: Mapping[int, Path] | None = None) -> Connect:
    """Connections that go to a forwarded Unix socket, whatever host and port are asked for, but for the ports of
    `others`."""

    def connect(host: str, port: int, timeout: float) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(str((others or {}).get(port, path)))
        return sock

    return connect


def target(view: View, repair: str, connect: Connect | None = None) -> Target:
    """The stack's URL with its login."""
    return login_target(view.context.door, view.settings, view.context.secrets, repair, connect)


def login_target(
    door: Door, settings: Settings, secrets: Mapping[str, Secret], repair: str, connect: Connect | None = None
) -> Target:
    """The URL with the generated account, or without one, and with the stack's own root where it has one."""
    open_to_all = settings.access.auth == "none"
    return Target(
        url=door.url,
        username="" if open_to_all else LOGIN,
        password=None if open_to_all else secrets["login"],
        ca=_roots(settings, secrets),
        connect=connect,
        repair=repair,
        direct=direct_store(store_url(door, settings), settings, secrets),
        exposed=clients_store(store_url(door, settings), secrets) if settings.store.expose else None,
        tracks=settings.mlflow.tracks,
        outside=not own_database(settings),
    )


def direct_store(endpoint: str, settings: Settings, secrets: Mapping[str, Secret]) -> DirectStore | None:
    """The store as clients see it that go there themselves; None where MLflow passes artifacts on."""
    if settings.artifacts.mode != "direct":
        return None
    if own_store(settings):
        return clients_store(endpoint, secrets)
    where = external_store
    found = clients_store(where.endpoint(settings), secrets)
    return replace(found, region=where.region(settings), virtual=where.virtual(settings))


def clients_store(endpoint: str, secrets: Mapping[str, Secret]) -> DirectStore:
    """The stack's own store at `endpoint`, with the clients' key."""
    return DirectStore(endpoint, secrets["store.client.key"].reveal(), secrets["store.client.secret"])


def store_url(door: Door, settings: Settings) -> str:
    """Where clients that go to the stack's own store themselves find it."""
    return (door.at(EXPOSED) if settings.store.expose else door).url


def private_roots(settings: Settings, secrets: Mapping[str, Secret]) -> str | None:
    """PEM of the roots that clients must trust besides the public ones, of the URL and of the store; None for none,
    "" where a secret is not there."""
    found = trusted(settings.access.encryption, secrets)
    if own_store(settings) or not settings.store.ca or found == "":
        return found
    store = external_store.pem(secrets.get("store.ca"))
    return f"{found or ''}{store}" if store else ""


def _roots(settings: Settings, secrets: Mapping[str, Secret]) -> str | None:
    """PEM of all that this machine shall trust on its way to the URL and to the store; None for the public roots."""
    found = private_roots(settings, secrets)
    if found is None or own_store(settings):
        return found
    from provisioner.commands import roots

    # One of them may have a public certificate.
    return f"{found}{roots.public()}"


@contextmanager
def way(session: Session, view: View, repair: str) -> Iterator[Target]:
    """The stack's URL; through `session`, to the host that carries it, where it cannot be reached from here although
    that host was reached through a jump host."""
    door = view.context.door
    if not session.jumped or _reachable(door.name, door.port):
        yield target(view, repair)
        return
    ports = (EXPOSED,) if view.settings.store.expose else ()
    with ExitStack() as stack:
        path = stack.enter_context(session.forward(door.port))
        others = {port: stack.enter_context(session.forward(port)) for port in ports}
        yield target(view, repair, through(path, others))


@contextmanager
def ways(roles: Roles, view: View, repair: str) -> Iterator[Access]:
    """`way`, and forwards to the database and the store, each on the connection to its role's host."""
    with ExitStack() as stack:
        url = stack.enter_context(way(roles("proxy"), view, repair))
        secrets, settings = view.context.secrets, view.settings
        yield Access(
            url,
            _database(roles, view, stack) if settings.mlflow.tracks else None,
            _store(roles, stack, settings, secrets),
        )


def _database(roles: Roles, view: View, stack: ExitStack) -> Database:
    from provisioner.steps import dbms
    from provisioner.verify.context import Database

    settings, engine = view.settings, dbms.installed(view.settings)
    if engine is None:
        from provisioner.commands.far_rows import connector

        return Database(connector(roles("mlflow"), settings.mlflow.version), "", "")
    way_in = stack.enter_context(roles("database").forward(engine.port))
    return Database(engine.connector(view.context, way_in, settings.database.name), engine.name, "database")


def _store(roles: Roles, stack: ExitStack, settings: Settings, secrets: Mapping[str, Secret]) -> StoreAccess:
    from provisioner.verify.s3 import StoreAccess

    own = own_store(settings)
    root = store_root(settings, secrets)
    endpoint = f"{'http' if root is None else 'https'}://127.0.0.1:9000" if own else external_store.endpoint(settings)
    return StoreAccess(
        endpoint=endpoint,
        bucket=settings.store.bucket,
        access_key=secrets["store.user.key"].reveal(),
        secret_key=secrets["store.user.secret"],
        region="us-east-1" if own else external_store.region(settings),
        connect=through(stack.enter_context(roles("store").forward(9000))) if own else None,
        ca=root if own else _roots(settings, secrets),
        virtual=not own and external_store.virtual(settings),
        prefix=settings.artifacts.prefix or "",
        clients=clients_store(endpoint, secrets) if own and has_clients(settings) else None,
        own=own,
        step=settings.store.engine if own else external_store.NAME,
    )


def _reachable(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 3):
            return True
    except OSError:
        return False
