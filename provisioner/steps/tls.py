"""TLS of the address: what nginx shows and what clients trust, for each kind of `access.tls`."""

from __future__ import annotations

from collections.abc import Sequence

from provisioner.certificates.material import OWN, trusted
from provisioner.engine.resource import Resource
from provisioner.resources.certificate import HEAD
from provisioner.resources.file import Directory, File, NoFile
from provisioner.secret_kinds import own_store
from provisioner.steps import Context, external_store
from provisioner.steps.host_certificates import FOLDER, HostCertificate, leaf, material, without_renewal

DOOR = f"{FOLDER}/door.pem"
TRUST = f"{FOLDER}/trust.crt"
"""What MLflow, which is a client of the address itself, trusts."""


def file(context: Context) -> str:
    """The file with key and certificates that nginx reads; empty without TLS."""
    return "" if context.settings.access.encryption == "off" else DOOR


def certificate(context: Context) -> HostCertificate | None:
    """What this host makes for the address; None where it has no TLS, or a certificate that was brought along."""
    if context.settings.access.encryption != "internal" or not context.here.holds("proxy"):
        return None
    return HostCertificate("door", "the URL", DOOR, context.door.names, "nginx.service")


def trust(context: Context) -> str | None:
    """PEM of the roots that clients must trust besides the public ones; None for none."""
    return trusted(context.settings.access.encryption, context.secrets)


def trusted_by_server(context: Context) -> str | None:
    """PEM of the only roots that MLflow's server trusts for the store: those of the address, which leads there, or of
    the store itself where it is somebody else's; None for the public ones."""
    if own_store(context.settings):
        return trust(context)
    return external_store.roots(context) or None


def trust_file(context: Context) -> list[Resource]:
    """The roots as a file that MLflow's server may read."""
    roots = trusted_by_server(context)
    if roots is None:
        return []
    text = f"{HEAD.decode()}the roots that clients of this server's address trust.\n{roots}"
    return [File(id="file:tls-trust", path=TRUST, content=text.encode())]


def no_trust_file(context: Context) -> list[Resource]:
    """What goes once MLflow no longer reads it."""
    if trusted_by_server(context) is not None:
        return []
    return [NoFile(id="file:tls-trust", path=TRUST, ours=HEAD, reason="the public roots are enough now")]


def resources(context: Context, needs: tuple[str, ...]) -> Sequence[Resource]:
    """What the proxy needs before it can listen with TLS."""
    made = certificate(context)
    if made is not None:
        return [leaf(made, needs)]
    if context.settings.access.encryption == "own":
        held = material(context, OWN)
        text = HEAD + b"key and certificate of the address that clients use. Renew it with `provision`, not here.\n"
        content = text + (held.pem().encode() if held else b"")
        return [
            Directory(id="directory:tls-own", path=FOLDER),
            File(id="file:tls-door", path=DOOR, content=content, mode=0o600, hide=("*",)),
        ]
    return []


def leftovers(context: Context) -> Sequence[Resource]:
    """What goes once nginx listens without TLS, and once this host makes no certificate any more."""
    gone: list[Resource] = []
    if not context.settings.certifies:
        gone += without_renewal()
    if context.settings.access.encryption == "off":
        gone.append(NoFile(id="file:tls-door", path=DOOR, ours=HEAD, reason="there is no TLS any more"))
    return gone
