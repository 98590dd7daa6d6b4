"""MinIO on several hosts: one store over the drives of all of them.

Its servers speak TLS on port 9000, with each other, with the URL's nginx and with this tool: MinIO has one port for
all, and asks everybody there for a key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from provisioner.engine.check import Check
from provisioner.engine.quoting import printable, word
from provisioner.resources import mutual
from provisioner.resources.answers import Ask
from provisioner.resources.drive import DriveProbe
from provisioner.resources.mutual import Peer
from provisioner.resources.quorum import CLUSTER, Quorum
from provisioner.resources.s3 import REGION
from provisioner.resources.tree import DataDirectory, TreeState
from provisioner.resources.unit import UnitProbe, record_line
from provisioner.runtime import programs
from provisioner.secrets import Secret
from provisioner.settings import Settings
from provisioner.steps import Context, inner, minio_pools, sizes
from provisioner.steps.bucket import mark as bucket_mark
from provisioner.steps.host_certificates import FOLDER, ROOT_FILE, HostCertificate
from provisioner.topology import addresses, shared_name
from provisioner.values import dataclass

UNIT = "minio.service"
USER = "minio-user"
PEM = f"{FOLDER}/minio.pem"
CERTS = "/run/minio"
"""Root's, and its group may read; in memory only."""
LOOPBACK = "127.0.0.1"
PORT = inner.STORE_PORT
WAIT = 300
"""Seconds for all of a cluster's servers to come back: longer than a host takes to boot."""


@dataclass(frozen=True)
class Cluster:
    """What the unit and its environment say of it."""

    drives: tuple[str, ...]
    volumes: str
    """MINIO_VOLUMES."""
    config: str
    """File that names the pools, where there are several."""
    certs: str
    """A command of the unit."""
    reloaded: str
    """A line of the unit."""
    folder: str = CERTS


def spread(context: Context) -> bool:
    """Whether the store is on several hosts."""
    return context.here.topology.spread("store")


def applies(settings: Settings) -> bool:
    """Whether a stack has this."""
    return settings.store.engine == "minio" and settings.topology.spread("store")


def drives(context: Context) -> tuple[str, ...]:
    """The directories that hold the objects on this host."""
    store = context.settings.store
    return (store.drives or ()) if spread(context) else (store.data,)


def directories(context: Context) -> tuple[DataDirectory, ...]:
    """The drives, each with its owner and mark."""
    return tuple(
        DataDirectory(
            id="directory:minio-data" if number == 1 else f"directory:minio-data-{number}",
            path=path,
            owner=USER,
            group=USER,
            sentinels=(".minio.sys",),
            had=bucket_mark(context) if pool == 1 else minio_pools.mark(pool),
        )
        for number, (path, pool) in enumerate(_numbered(context), 1)
    )


def _numbered(context: Context) -> list[tuple[str, int]]:
    """The directories that hold the objects on this host, each with the number of its pool."""
    numbers = minio_pools.numbers(context) if spread(context) else {}
    return [(drive, numbers.get(drive, 1)) for drive in drives(context)]


def cluster(context: Context, inputs: tuple[str, ...], links: tuple[str, ...]) -> Cluster | None:
    """None where one server is the whole store."""
    if not spread(context):
        return None
    found = minio_pools.pools(context)
    config = minio_pools.CONFIG if len(found) > 1 else ""
    reload = record_line(inputs, links, directive="ExecReload")
    return Cluster(drives(context), " ".join(minio_pools.urls(found[0])), config, _certs(), reload)


def allowed(context: Context) -> tuple[str, ...]:
    """Who reaches the port, where the kernel can tell."""
    topology = context.here.topology
    return sizes.allowed(addresses((*topology.of("store"), *topology.of("proxy"))) if spread(context) else ())


def certificate(context: Context) -> HostCertificate | None:
    """What a server of several shows; for its own host's loopback too, where this tool asks it."""
    member = context.here.member
    if member is None or not spread(context) or not context.here.holds("store"):
        return None
    # Not all of the host's names, and not for clients: its key is no nginx's.
    names = (*filter(None, [member.address]), member.dns, shared_name("store"), LOOPBACK)
    return HostCertificate("minio", "the store", PEM, names, UNIT)


def _certs() -> str:
    """The unit's command that takes key, certificates and root apart: MinIO refuses a file with a key and more."""
    parts = (
        ("/-----BEGIN.*PRIVATE KEY-----/,/-----END.*PRIVATE KEY-----/p", PEM, "private.key"),
        ("/-----BEGIN CERTIFICATE-----/,/-----END CERTIFICATE-----/p", PEM, "public.crt"),
        ("/-----BEGIN CERTIFICATE-----/,/-----END CERTIFICATE-----/p", ROOT_FILE, "CAs/root.crt"),
    )
    taken = " && ".join(
        f"sed -n '{which}' {source} >{CERTS}/{name}.new && chgrp {USER} {CERTS}/{name}.new"
        f" && chmod 0640 {CERTS}/{name}.new && mv -f {CERTS}/{name}.new {CERTS}/{name}"
        for which, source, name in parts
    )
    made = f"mkdir -p {CERTS}/CAs && chgrp {USER} {CERTS} {CERTS}/CAs && chmod 0750 {CERTS} {CERTS}/CAs"
    return f'/bin/sh -c "umask 077; {made} && {taken}"'


def rolling(context: Context, shared: Mapping[str, str]) -> bool:
    """Whether this host's server runs with the settings that all shall have (file -> text): a restart then is one
    server's affair, and waits its turn. With others it would not be let in by the rest, so that all restart at once."""
    state = context.seen.get(UnitProbe(UNIT))
    if state is None or state.active != "active":
        return False
    return all(
        state.record.get(path) == hashlib.sha256(text.encode()).hexdigest() for path, text in shared.items() if text
    )


def turn(context: Context) -> tuple[str, ...]:
    """The needs of a restart that waits its turn."""
    names = [member.name for member in context.here.topology.of("store")]
    earlier = names[: names.index(context.name)] if context.name in names else []
    return tuple(f"after:cluster@{name}" for name in earlier)


def whole(context: Context) -> str:
    """sh: every server answers and could be missed now, and each of them writes and reads. The next one's restart
    costs nobody anything then. The former alone is said too early: by what each of the others says of its own drives,
    not by which of them a server has found the way to (erasureServerPools.Health, NotificationSys.StorageInfo)."""
    ask = Ask(PORT, f"{CLUSTER}?maintenance=true", shared_name("store"))
    members = context.here.topology.of("store")
    asked = [(LOOPBACK if member.name == context.name else member.address, ask) for member in members]
    told = mutual.answers(Peer(PEM, ROOT_FILE, shared_name("store")), *asked)
    return f"{{ {told}\n}} || exit 1\n{proven(context, [host for host, _ in asked], spare=True)}"


def proven(context: Context, servers: Iterable[str], spare: bool = False) -> str:
    """sh: each of `servers` writes, reads and removes objects in the bucket, or there is none yet; `spare`: and sees
    so many drives that any host could be missed. The key is in the environment of a process of root's, not in an
    argument."""
    unknown = Secret("")
    asked = {
        "servers": list(servers),
        "port": PORT,
        "region": REGION,
        "bucket": context.settings.store.bucket,
        "access": context.secrets.get("store.root.user", unknown).reveal(),
        "secret": context.secrets.get("store.root.password", unknown).reveal(),
        "root": ROOT_FILE,
        "name": hashlib.sha256(context.name.encode()).hexdigest()[:8],
        # Which set of drives an object is put into is MinIO's choice, by its name.
        "spare": spare,
        "rounds": 3 * -(-len(list(every(context))) // 16),
    }
    return f"PROVISION_STORE={word(json.dumps(asked))} {programs.call('store_whole')}"


def quorum(context: Context) -> Quorum:
    """That this host's server finds enough of the others to read and write."""
    members = context.here.topology.of("store")
    fresh = not any(context.known(each.tree, TreeState()).owners for each in directories(context))
    # Drives are shared out once, by all servers together; later on the store goes on without one that is down.
    kind = "step" if fresh else "after"
    return Quorum(
        id="cluster:minio",
        unit=UNIT,
        root=ROOT_FILE,
        port=PORT,
        hosts=len(members),
        seconds=WAIT,
        proof=proven(context, [LOOPBACK]),
        needs=("step:minio", *(f"{kind}:minio@{member.name}" for member in members if member.name != context.name)),
    )


def every(context: Context) -> Iterable[tuple[str, str, str]]:
    """Every drive: its host, its directory, and what MinIO calls it."""
    for member in context.here.topology.of("store"):
        for drive in drives(context):
            yield member.name, drive, minio_pools.url(member.address, drive)


def drive_checks(context: Context) -> Iterable[Check]:
    """Whether the drives are disks of their own, and nobody else's."""
    for path in drives(context) if spread(context) else ():
        state = context.seen.get(DriveProbe(path))
        if state is None:
            continue
        fix, fault = "", ""
        if state.rooted:
            fault = f"{path} is on the system's disk: MinIO takes no drive there"
            fix = "mount a disk of its own there, on this host, or name other directories: store.drives"
        elif state.foreign:
            fault = f"{path} holds what is not this stack's: {printable(state.foreign)[:80]}"
            fix = "move that away, or name another directory: store.drives"
        title = f"drive {path}"
        yield Check(f"drive-{path}", title, "fail" if fault else "ok", detail=fault, fix=fix)


def probes(context: Context) -> tuple[DriveProbe, ...]:
    """What `drive_checks` looks at."""
    return tuple(DriveProbe(path) for path in drives(context)) if spread(context) else ()
