"""Certificates of a host's own services, issued on the host below the stack's root and renewed there.

Whatever on a host speaks TLS to others names its certificate as a `HostCertificate` and puts `leaf(it)` among its
resources; what issues and renews them is the step `certificates`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from provisioner.certificates.material import Material, unpack
from provisioner.engine.resource import Resource
from provisioner.resources.certificate import HEAD, Leaf
from provisioner.resources.file import NoFile
from provisioner.resources.unwanted import NoUnit
from provisioner.steps import Context
from provisioner.values import dataclass

FOLDER = "/etc/provision/tls"
ISSUER = f"{FOLDER}/issuer.pem"
ROOT_FILE = f"{FOLDER}/root.crt"
NAMES = f"{FOLDER}/names"
"""What is renewed: a line for each certificate."""
SCRIPT = "/usr/local/lib/provision/tls-renew"
SERVICE = "provision-tls.service"
TIMER = "provision-tls.timer"
UNITS = "/etc/systemd/system"


@dataclass(frozen=True)
class HostCertificate:
    """Key and chain of one service, in one file of root's that its group may read."""

    name: str
    """`certificate:NAME` is its resource."""
    title: str
    """What it is of, in the words of `status`."""
    path: str
    names: tuple[str, ...]
    """DNS names and addresses by which others call the service."""
    unit: str
    """What must be reloaded to show another one."""
    group: str = "root"
    """Another one's file is in a folder of its own, setgid to that group: what renews it may give nothing away."""
    client: bool = False
    """It is shown to servers too."""

    @property
    def mode(self) -> int:
        return 0o600 if self.group == "root" else 0o640

    @property
    def usage(self) -> str:
        """What it may be used for, as OpenSSL writes it."""
        return "serverAuth,clientAuth" if self.client else "serverAuth"

    @property
    def id(self) -> str:
        return f"certificate:{self.name}"


def reached_by(context: Context, role: str, networks: Iterable[str]) -> tuple[str, ...]:
    """By what clients in `networks` call a service of this host, which has `role`; empty where nobody does.

    Its names are those of the URL, where that is this host's, the address under which the stack's other hosts reach
    it, and its addresses in the clients' networks. No IPv6 address that is not named: a host takes new ones by itself.
    """
    parsed = [ipaddress.ip_network(each) for each in networks]
    if not parsed or not context.here.holds(role):
        return ()
    carried = [address for each in context.facts.addresses if (address := ipaddress.ip_address(each)).version == 4]
    inside = (str(address) for address in carried if any(address in network for network in parsed))
    named = context.door.names if context.here.holds("proxy") else ()
    member = context.here.member
    own = (member.address,) if member is not None and member.address else ()
    return tuple(dict.fromkeys((*named, *own, *inside)))


def leaf(certificate: HostCertificate, needs: tuple[str, ...]) -> Leaf:
    """The certificate as a resource of its service's step, there before the service is told of it."""
    return Leaf(
        id=certificate.id,
        path=certificate.path,
        issuer=ISSUER,
        script=SCRIPT,
        names=certificate.names,
        group=certificate.group,
        mode=certificate.mode,
        needs=(*needs, "step:certificates"),
    )


def table(certificates: Iterable[HostCertificate]) -> str:
    """/etc/provision/tls/names: `FILE MODE UNIT USAGE NAMES`, the last two as OpenSSL writes them."""
    lines = [
        f"{each.path} {each.mode:04o} {each.unit} {each.usage} {subject_names(each.names)}\n"
        for each in sorted(certificates, key=lambda each: each.path)
    ]
    return "# Written by provision: the certificates that this host renews. An edit here is put back.\n" + "".join(
        lines
    )


def without_renewal() -> Sequence[Resource]:
    """No certificate is made on this host any more: no timer, and no key that could."""
    reason = "this host makes no certificates any more"
    return [
        NoUnit(id=f"unit:{TIMER}", unit=TIMER, files=(f"{UNITS}/{TIMER}", f"{UNITS}/{SERVICE}"), reason=reason),
        NoFile(id="file:tls-issuer", path=ISSUER, ours=HEAD, reason=reason),
    ]


def material(context: Context, name: str) -> Material | None:
    """The key and certificates of a secret; None in the guess."""
    secret = context.secrets.get(name)
    try:
        return unpack(secret) if secret is not None else None
    except ValueError:
        return None


def subject_names(names: Iterable[str]) -> str:
    """The names as OpenSSL writes a subjectAltName."""
    return ",".join(f"{'IP' if _is_address(name) else 'DNS'}:{name}" for name in names)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
