"""What secrets a stack may have: what each is for, what it may look like, and how a new one is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from provisioner import accounts
from provisioner.certificates.authority import new_root
from provisioner.certificates.material import LIMIT as CERTIFICATES
from provisioner.certificates.material import OWN, ROOT
from provisioner.errors import UsageError
from provisioner.secrets import Secret, generate
from provisioner.settings import Settings
from provisioner.topology import ROLES, Here
from provisioner.values import dataclass

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Kind:
    """What one secret is: how long it may be and how a new one is made."""

    doc: str
    low: int
    high: int
    make: Callable[[], Secret] | None
    """None: it is brought along, or comes about otherwise."""
    pattern: str = r".*"
    room: int = 0
    """Bytes at most, 0 for no such limit."""
    when: Callable[[Settings], bool] = lambda _settings: True
    """Whether a stack of these settings has this secret; one that is there stays when it is no longer needed."""
    roles: tuple[str, ...] = ROLES
    """The hosts that keep it, where a stack has several."""


_PEMS = r"[A-Za-z0-9+/=]+:[A-Za-z0-9+/=,]+:[A-Za-z0-9+/=,]*"


def never(_settings: Settings) -> bool:
    """Of what no settings ask for."""
    return False


def has_root(settings: Settings) -> bool:
    """Whether the stack's certificates come from a root of its own."""
    return settings.certifies


def own_store(settings: Settings) -> bool:
    """Whether the store is this stack's own, so that its keys are made here."""
    return settings.store.engine != "external"


def own_database(settings: Settings) -> bool:
    """Whether the database is this stack's own, so that its login is made here."""
    return settings.database.engine != "external"


def has_clients(settings: Settings) -> bool:
    """Whether clients go to the store themselves, for MLflow or for something else."""
    return settings.artifacts.mode == "direct" or settings.store.expose


def tracks(settings: Settings) -> bool:
    """Whether MLflow has a database, and so a login there and keys in it."""
    return settings.mlflow.tracks


# Limits of MinIO: access keys 3 to 20 characters without "=" and ",", a user's secret key 8 to 40. SeaweedFS
# takes the same; of other stores they are longer. MLflow's own login wants 12 characters at least.
_SERVER = ("mlflow",)
_STORE = ("store",)
_BUCKET = ("store", "mlflow")
_DOOR = ("proxy",)
_CLIENT = ("store", "proxy")
_LOGINS = ("mlflow", "proxy")
NAMES: Mapping[str, Kind] = {
    "database.admin.password": Kind(
        "password of an external database's administrator; never kept", 1, 256, None, when=never, roles=_SERVER
    ),
    "database.admin.user": Kind(
        "name of an external database's administrator; never kept", 1, 63, None, when=never, roles=_SERVER
    ),
    "database.ca": Kind(
        "the root that an external database's certificate leads to",
        16,
        CERTIFICATES,
        None,
        r"[A-Za-z0-9+/=,]+",
        when=never,
        roles=_SERVER,
    ),
    "database.password": Kind(
        "password of the database role", 8, 256, lambda: generate(32), when=tracks, roles=("database", "mlflow")
    ),
    "login": Kind(
        "password of the account mlflow", 8, accounts.HIGH, lambda: generate(24), room=accounts.HIGH, roles=_LOGINS
    ),
    "mlflow.flask-key": Kind("key that signs MLflow's sessions", 16, 256, lambda: generate(48), roles=_SERVER),
    "mlflow.kek": Kind(
        "passphrase of the secrets that MLflow stores", 16, 256, lambda: generate(48), when=tracks, roles=_SERVER
    ),
    "store.ca": Kind(
        "the root that an external store's certificate leads to",
        16,
        CERTIFICATES,
        None,
        r"[A-Za-z0-9+/=,]+",
        when=never,
        roles=_SERVER,
    ),
    "store.client.before": Kind(
        "access key of the clients before the last rotation", 3, 20, None, when=never, roles=_STORE
    ),
    "store.client.key": Kind(
        "access key of clients that go to the store themselves",
        3,
        128,
        lambda: generate(20),
        r"[A-Za-z0-9_.-]+",
        when=has_clients,
        roles=_CLIENT,
    ),
    "store.client.secret": Kind(
        "secret key of clients that go to the store themselves",
        8,
        128,
        lambda: generate(40),
        when=has_clients,
        roles=_CLIENT,
    ),
    "store.root.password": Kind(
        "password of the store's administrator", 8, 40, lambda: generate(40), when=own_store, roles=_STORE
    ),
    "store.root.user": Kind(
        "name of the store's administrator",
        3,
        20,
        lambda: Secret("root" + generate(16).reveal()),
        r"[A-Za-z0-9_.-]+",
        when=own_store,
        roles=_STORE,
    ),
    "store.user.before": Kind(
        "access key of the bucket's user before the last rotation", 3, 20, None, when=never, roles=_STORE
    ),
    "store.user.key": Kind(
        "access key of the bucket's user", 3, 128, lambda: generate(20), r"[A-Za-z0-9_.-]+", roles=_BUCKET
    ),
    "store.user.secret": Kind("secret key of the bucket's user", 8, 128, lambda: generate(40), roles=_BUCKET),
    OWN: Kind(
        "the certificate that was brought along, with its key",
        64,
        CERTIFICATES,
        None,
        _PEMS,
        when=never,
        roles=_DOOR,
    ),
    ROOT: Kind(
        "key and certificate of the stack's own root", 64, CERTIFICATES, new_root, _PEMS, when=has_root, roles=_DOOR
    ),
}

BEFORE: Mapping[str, str] = {"store.user.key": "store.user.before", "store.client.key": "store.client.before"}
"""Access key -> the secret that keeps the one before it: the store's user of that name goes once the new one serves."""


def to_bring(settings: Settings) -> tuple[str, ...]:
    """The secrets of a stack that only their owner knows: those of a store and of a database that are not its own."""
    database = () if own_database(settings) else ("database.password",)
    if own_store(settings):
        return database
    clients = ("store.client.key", "store.client.secret") if has_clients(settings) else ()
    return (*database, "store.user.key", "store.user.secret", *clients)


PASSING: tuple[str, ...] = ("database.admin.password", "database.admin.user")
"""Secrets that a run is given and that are kept nowhere."""


_ACCOUNT = Kind(
    "password of an account", accounts.LOW, accounts.HIGH, lambda: generate(24), room=accounts.HIGH, roles=_LOGINS
)


def kind_of(name: str) -> Kind | None:
    """What is known of the secret `name`; None for one of a newer version."""
    return _ACCOUNT if accounts.is_secret(name) else NAMES.get(name)


def wanted(settings: Settings) -> tuple[str, ...]:
    """The names of the secrets that a stack of these settings has."""
    users = settings.access.users if settings.access.auth != "none" else ()
    names = [name for name, kind in NAMES.items() if kind.when(settings)]
    return (*names, *(accounts.secret_of(user) for user in users))


def kept_by(name: str, settings: Settings, host: str) -> bool:
    """Whether `host` of the stack keeps the secret `name`: a role of its needs it. What a newer version made is kept
    by all."""
    return Here(settings.topology, host).holds(*roles_of(name, settings))


def roles_of(name: str, settings: Settings) -> tuple[str, ...]:
    """The roles whose hosts keep the secret `name`."""
    kind = kind_of(name)
    if kind is None:
        return ROLES
    # A login is the URL's host's own where nginx asks for it: another one neither needs it nor has to be told of it.
    return _DOOR if kind.roles == _LOGINS and settings.access.auth != "mlflow" else kind.roles


MADE = tuple(name for name, kind in NAMES.items() if kind.make is not None)
"""The secrets that can be made here."""


def check(name: str, value: str) -> Secret:
    """`value` as the secret `name`. Raises UsageError, which never shows the value.

    Anything printable goes: quotes, percent signs, spaces, any script. Line breaks and control
    characters do not: they cannot pass through environment files.
    """
    kind = kind_of(name)
    low, high = (kind.low, kind.high) if kind else (1, 4096)
    if _CONTROL.search(value):
        raise UsageError(
            f"the secret {name} has a line break or a control character in it",
            why="environment files cannot carry it",
            next="choose one of printable characters",
        )
    if not low <= len(value) <= high:
        raise UsageError(f"the secret {name} has {len(value)} characters", next=f"use {low} to {high}")
    if kind and kind.room and len(value.encode("utf-8", "surrogatepass")) > kind.room:
        raise UsageError(f"the secret {name} has more than {kind.room} bytes", next="choose a shorter one")
    if kind and not re.fullmatch(kind.pattern, value):
        raise UsageError(
            f"the secret {name} has characters that the store does not take in a name",
            next="use letters, digits, dot, dash and underscore",
        )
    return Secret(value)
