"""How much of a host each service may use, and what may reach it: decided from memory, cores and settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlsplit

from provisioner.addresses import is_address, is_loopback
from provisioner.secret_kinds import own_database, own_store
from provisioner.settings import Settings
from provisioner.steps import Context, dbms
from provisioner.topology import Here, addresses
from provisioner.values import dataclass

_STEP = 16
"""MiB that every size is a multiple of."""
_STORE_LEAST = 192
"""MiB; MinIO and SeaweedFS each take about 135 idle (measured)."""
_DATABASE_LEAST = 128
_LAUNCHER, _WORKER = 290, 230
"""MiB of MLflow 3.17.2 that start and a worker may take: 434 with one, 690 with two (measured, PSS)."""


@dataclass(frozen=True)
class Sizes:
    """Limits of one host's services: memory in MiB (None: not known, no limit), tasks as a number."""

    mlflow_tasks: int
    store_tasks: int
    database_tasks: int
    proxy_tasks: int
    mlflow: int | None = None
    """MemoryMax; what the kernel kills is started again."""
    store: int | None = None
    """MemoryMax."""
    store_heap: int | None = None
    """GOMEMLIMIT: from there on the collector of Go works harder, before the kernel has to kill."""
    database: int | None = None
    """MemoryHigh only: beyond it the server gets slow, while one killed backend would end every connection."""
    proxy: int | None = None
    """MemoryMax."""
    fits: bool = True
    """What the services need at least leaves the system a tenth of the memory."""


def sizes(memory: int, cores: int, settings: Settings, here: Here | None = None) -> Sizes:
    """`memory` in bytes, 0 when it is not known. What this host does not have takes none of it."""
    here = here or Here()
    workers, hosts = settings.mlflow.workers, here.topology.count("mlflow")
    unlimited = Sizes(
        mlflow_tasks=256 + 128 * workers,
        store_tasks=min(8192, 1024 + 512 * cores),
        database_tasks=256 + 2 * max(100, (workers * 30 + 15) * hosts + 20, _number(settings, "max_connections")),
        proxy_tasks=64 + 64 * cores,
    )
    if memory <= 0:
        return unlimited
    size = nominal(memory)
    proxy = _whole(min(512, max(48, size // 32)))
    database_here = here.holds("database") and own_database(settings) and settings.mlflow.tracks
    database_least = max(_DATABASE_LEAST, dbms.of(settings).buffers(settings) + 32) if database_here else 0
    store_least = _STORE_LEAST if here.holds("store") and own_store(settings) else 0
    room = size * 9 // 10 - proxy
    least = _LAUNCHER + _WORKER * workers
    # Half of it, where the store or the database wants the rest.
    most = min(room - store_least - database_least, size * 9 // 20 if here.holds("store", "database") else room)
    mlflow = min(_mebibytes(settings.mlflow.memory), max(least, most)) if here.holds("mlflow") else 0
    rest = room - mlflow
    store = max(store_least, min(rest // 2 if database_here else rest, rest - database_least))
    database = max(database_least, rest - store)
    return replace(
        unlimited,
        mlflow=_whole(mlflow),
        store=_whole(store),
        store_heap=_whole(store * 3 // 4),
        database=_whole(database),
        proxy=proxy,
        fits=mlflow + store + database <= room,
    )


def of(context: Context) -> Sizes:
    return sizes(context.facts.memory, context.facts.cores, context.settings, context.here)


def nominal(memory: int) -> int:
    """The MiB that a host was sold with: what its kernel reports is some percent less and changes with
    every kernel, and a service must not be restarted for that. Rounded up to an eighth of a power of two."""
    mebibytes = -(-memory // 2**20)
    step = max(_STEP, (1 << mebibytes.bit_length() - 1) // 8)
    return -(-mebibytes // step) * step


def allowed(networks: Iterable[str] = ()) -> tuple[str, ...]:
    """Values of IPAddressAllow: this host itself, and what the settings name. Beside them IPAddressDeny=any."""
    return ("localhost", *dict.fromkeys(networks))


def egress(context: Context) -> tuple[str, ...]:
    """What MLflow may reach with `mlflow.egress = "stack"`; empty for everything. It goes to the bucket by the
    address that clients use, since that is the one it signs."""
    if context.settings.mlflow.egress != "stack":
        return ()
    # Literal addresses: settings see to that.
    outside = database_hosts(context.settings)
    if not own_store(context.settings):
        own = [] if context.here.topology.single else addresses(context.here.others("database", "proxy"))
        return allowed([urlsplit(context.settings.store.endpoint or "").hostname or "", *own, *outside])
    if not context.here.topology.single:
        named = [name for name in context.door.names if is_address(name)]
        return allowed([*named, *addresses(context.here.others("database", "proxy")), *outside])
    try:
        return allowed([str(ipaddress.ip_address(context.door.name)), *outside])
    except ValueError:
        mine = sorted(a for a in context.facts.addresses if not ipaddress.ip_address(a).is_loopback)
        return allowed([*mine, *outside])


def database_hosts(settings: Settings) -> tuple[str, ...]:
    """Of a database that is not the stack's own."""
    if own_database(settings):
        return ()
    from provisioner.database_url import parse

    return tuple(host for host, _ in parse(settings.database.url).hosts if not is_loopback(host))


def _whole(mebibytes: int) -> int:
    return max(_STEP, mebibytes // _STEP * _STEP)


def _mebibytes(setting: str) -> int:
    """Of `512M` or `3G`."""
    return int(setting[:-1]) * (1 if setting.endswith("M") else 1024)


def _number(settings: Settings, name: str) -> int:
    text = settings.database.settings.get(name, "").strip()
    return int(text) if text.isdigit() and len(text) < 7 else 0
