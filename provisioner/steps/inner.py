"""How the store and MLflow are reached from the host that clients use, when they are on others.

They listen on loopback, wherever they are. On their hosts nginx takes connections of the URL's host for them: by
TLS, with a certificate of the stack's own root on both sides, and from that host's address only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from provisioner.assets import render
from provisioner.resources.mutual import Peer
from provisioner.settings import Settings
from provisioner.steps import Context, mlflow_environment, nginx
from provisioner.steps.host_certificates import FOLDER, ROOT_FILE, HostCertificate
from provisioner.topology import Here, Topology, addresses, shared_name
from provisioner.values import dataclass

SITE = "/etc/nginx/conf.d/provision-gate.conf"
IDENTITY = f"{FOLDER}/inner.pem"
"""Key and certificate by which the stack's hosts know each other's nginx."""
LOOPBACK = "127.0.0.1"
STORE_PORT = 9000
PORTS = {"store": STORE_PORT, "mlflow": mlflow_environment.PORT}
"""Role -> where its service listens, on loopback."""
GATES = {"store": 9443, "mlflow": 5543}
"""Role -> where its host takes connections of the URL's host."""


@dataclass(frozen=True)
class Upstream:
    """Servers of one role, as the URL's nginx reaches them."""

    servers: tuple[str, ...]
    """`HOST:PORT`."""
    name: str = ""
    """What their certificates call them; empty: without TLS, on this host."""


@dataclass(frozen=True)
class Gate:
    """One port that is open to the URL's host."""

    role: str
    listen: tuple[str, ...]
    """As nginx's `listen`, each."""
    port: int
    to: int
    """Port on loopback."""
    allowed: tuple[str, ...]
    """Addresses from which it is used."""


def apart(topology: Topology) -> bool:
    """Whether some host has the store or MLflow and not the URL."""
    return any("proxy" not in member.roles for role in GATES for member in topology.of(role))


def upstream(here: Here, role: str) -> Upstream:
    """The servers of `role`: one on this host without TLS, or all with it, as nginx cannot mix both."""
    if not _apart(here, role):
        return Upstream((f"{LOOPBACK}:{PORTS[role]}",))
    port = GATES[role] if _gated(here, role) else PORTS[role]
    servers = [
        f"{LOOPBACK if member.name == here.name else bracketed(member.address)}:{port}"
        for member in here.topology.of(role)
    ]
    return Upstream(tuple(servers), shared_name(role))


def gates(here: Here) -> tuple[Gate, ...]:
    """What this host opens. On the URL's host that is loopback only, for one of several servers of a role."""
    found = []
    for role, port in GATES.items():
        if here.topology.single or not here.holds(role) or not _gated(here, role):
            continue
        listen, allowed = _listen(here, port), addresses(here.topology.of("proxy"))
        if here.holds("proxy"):
            listen, allowed = (f"{LOOPBACK}:{port}",), (LOOPBACK,)
        found.append(Gate(role, listen, port, PORTS[role], allowed))
    return tuple(found)


def _gated(here: Here, role: str) -> bool:
    """Whether the role's servers are reached through nginx on their hosts. Those of a store over several hosts speak
    TLS themselves, as they must for each other, and ask everybody for a key."""
    return _apart(here, role) and not (role == "store" and here.topology.spread("store"))


def _apart(here: Here, role: str) -> bool:
    """Whether one of the role's hosts is not the URL's."""
    return any("proxy" not in member.roles for member in here.topology.of(role))


def _listen(here: Here, port: int) -> tuple[str, ...]:
    """Every address, as this one may not be there yet when the host boots; who is answered is another question.
    With IPv6 loopback besides, which the host itself asks: nginx's `[::]` takes no IPv4."""
    member = here.member
    return (f"{LOOPBACK}:{port}", f"[::]:{port}") if member is not None and ":" in member.address else (str(port),)


def certificate(context: Context) -> HostCertificate | None:
    """What this host's nginx shows to others of the stack, and to those it asks."""
    member = context.here.member
    if member is None or not wanted(context.settings) or not (context.here.holds("proxy") or gates(context.here)):
        return None
    return HostCertificate("inner", "the stack's hosts", IDENTITY, member.names, nginx.UNIT, client=True)


def wanted(settings: Settings) -> bool:
    """Whether anything of this stack speaks to another host's nginx."""
    return not settings.topology.single and apart(settings.topology)


def peer(role: str) -> Peer:
    """How a program of this host asks a gate of `role`."""
    return Peer(IDENTITY, ROOT_FILE, shared_name(role))


def site(context: Context, version: str) -> str:
    """/etc/nginx/conf.d/provision-gate.conf; `version` is what it says of itself."""
    return render(
        "nginx-gate.conf.j2",
        gates=gates(context.here),
        bucket=context.settings.store.bucket.replace(".", "\\."),
        identity=IDENTITY,
        root=ROOT_FILE,
        version=version,
    )


def ports(here: Here) -> Sequence[int]:
    return [gate.port for gate in gates(here)]


def bracketed(address: str) -> str:
    return f"[{address}]" if _version(address) == 6 else address or "0.0.0.0"  # noqa: S104  not known in a guess


def _version(address: str) -> int:
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return 4
