"""TLS of the address: what lies in /etc/provision/tls, for each kind of `access.tls`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from provisioner.assets import render
from provisioner.certificates.material import OWN, ROOT, Material, trusted, unpack
from provisioner.engine.resource import Resource
from provisioner.resources.certificate import HEAD, Issuer, Leaf
from provisioner.resources.file import Directory, File, NoFile
from provisioner.resources.package import Package
from provisioner.resources.unit import Service
from provisioner.resources.unwanted import NoUnit
from provisioner.runtime import programs
from provisioner.steps import Context

FOLDER = "/etc/provision/tls"
DOOR = f"{FOLDER}/door.pem"
ISSUER = f"{FOLDER}/issuer.pem"
ROOT_FILE = f"{FOLDER}/root.crt"
NAMES = f"{FOLDER}/names"
TRUST = f"{FOLDER}/trust.crt"
"""What MLflow, which is a client of the address itself, trusts."""
SCRIPT = "/usr/local/lib/provision/tls-renew"
SERVICE = "provision-tls.service"
TIMER = "provision-tls.timer"
_UNITS = "/etc/systemd/system"


def file(context: Context) -> str:
    """The file with key and certificates that nginx reads; empty without TLS."""
    return "" if context.settings.access.encryption == "off" else DOOR


def trust(context: Context) -> str | None:
    """PEM of the roots that clients must trust besides the public ones; None for none."""
    return trusted(context.settings.access.encryption, context.secrets)


def trust_file(context: Context) -> list[Resource]:
    """The roots as a file that MLflow's server may read."""
    roots = trust(context)
    if roots is None:
        return []
    text = f"{HEAD.decode()}the roots that clients of this server's address trust.\n{roots}"
    return [File(id="file:tls-trust", path=TRUST, content=text.encode())]


def no_trust_file(context: Context) -> list[Resource]:
    """What goes once MLflow no longer reads it."""
    if trust(context) is not None:
        return []
    return [NoFile(id="file:tls-trust", path=TRUST, ours=HEAD, reason="the public roots are enough now")]


def resources(context: Context, needs: tuple[str, ...]) -> Sequence[Resource]:
    """What the proxy needs before it can listen with TLS, or has no more use for."""
    encryption = context.settings.access.encryption
    if encryption == "internal":
        return [Directory(id="directory:tls", path=FOLDER), *_internal(context, needs)]
    if encryption == "own":
        held = material(context, OWN)
        text = HEAD + b"key and certificate of the address that clients use. Renew it with `provision`, not here.\n"
        content = text + (held.pem().encode() if held else b"")
        return [
            *without_renewal(),
            Directory(id="directory:tls", path=FOLDER),
            File(id="file:tls-door", path=DOOR, content=content, mode=0o600, hide=("*",)),
        ]
    return []


def leftovers(context: Context) -> Sequence[Resource]:
    """What goes once nginx listens without TLS."""
    if context.settings.access.encryption != "off":
        return []
    gone = NoFile(id="file:tls-door", path=DOOR, ours=HEAD, reason="there is no TLS any more")
    return [*without_renewal(), gone]


def without_renewal() -> list[Resource]:
    """No certificate is made on this host any more: no timer, and no key that could."""
    reason = "this host makes no certificates any more"
    return [
        NoUnit(id=f"unit:{TIMER}", unit=TIMER, files=(f"{_UNITS}/{TIMER}", f"{_UNITS}/{SERVICE}"), reason=reason),
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


def _units() -> list[Resource]:
    """The timer and what it starts, which is no service that runs and would be asked whether it reads today's file."""
    return [
        File(
            id=f"file:{unit}",
            path=f"{_UNITS}/{unit}",
            content=render(f"{unit}.j2").encode(),
            check_in_place="systemctl daemon-reload",
        )
        for unit in (SERVICE, TIMER)
    ]


def _internal(context: Context, needs: tuple[str, ...]) -> list[Resource]:
    names = context.door.names
    root = trust(context) or ""
    openssl = Package(id="package:openssl", name="openssl", lane="apt", size=1_200_000)
    return [
        openssl,
        File(id="file:tls-root", path=ROOT_FILE, content=f"{HEAD.decode()}this stack's own root.\n{root}".encode()),
        File(id="file:tls-names", path=NAMES, content=f"{subject_names(names)}\n".encode()),
        File(id="file:tls-renew", path=SCRIPT, content=programs.text("tls_renew.sh").encode(), mode=0o755),
        Issuer(id="certificate:issuer", path=ISSUER, root=material(context, ROOT), names=names),
        Leaf(id="certificate:door", path=DOOR, issuer=ISSUER, script=SCRIPT, names=names, needs=(*needs, openssl.id)),
        *_units(),
        Service(id=f"unit:{TIMER}", unit=TIMER, cost="nobody waits for it"),
    ]
