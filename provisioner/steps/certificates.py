"""What issues the certificates of this host's services: an issuer below the stack's root, and a timer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.assets import render
from provisioner.certificates.material import ROOT, trusted
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources.certificate import HEAD, Issuer
from provisioner.resources.file import Directory, File
from provisioner.resources.package import Package
from provisioner.resources.unit import Service, UnitProbe
from provisioner.runtime import programs
from provisioner.settings import Settings
from provisioner.steps import Context, dbms, inner, minio_cluster, tls
from provisioner.steps.host_certificates import (
    FOLDER,
    ISSUER,
    NAMES,
    ROOT_FILE,
    SCRIPT,
    SERVICE,
    TIMER,
    UNITS,
    HostCertificate,
    material,
    table,
)
from provisioner.topology import ROLES
from provisioner.values import dataclass


def _database(context: Context) -> HostCertificate | None:
    return dbms.of(context.settings).certificate(context) if dbms.known(context.settings) else None


_SERVICES = (tls.certificate, _database, minio_cluster.certificate, inner.certificate)
"""Who may have one: a function of the context each, None where it needs none."""


@dataclass(frozen=True)
class Certificates:
    """The host's own issuer."""

    name: str = "certificates"
    summary: str = "what issues and renews certificates"
    needs: tuple[str, ...] = ()
    provides: str = "certificates"
    roles: tuple[str, ...] = ROLES

    def applies(self, settings: Settings) -> bool:
        return settings.certifies

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        return (UnitProbe(SERVICE),)

    def resources(self, context: Context) -> Sequence[Resource]:
        certificates = of(context)
        if not certificates:
            return []
        root = trusted("internal", context.secrets) or ""
        resources: list[Resource] = [
            Package(id="package:openssl", name="openssl", lane="apt", size=1_200_000),
            Directory(id="directory:tls", path=FOLDER),
            File(id="file:tls-root", path=ROOT_FILE, content=f"{HEAD.decode()}this stack's own root.\n{root}".encode()),
            File(id="file:tls-names", path=NAMES, content=table(certificates).encode()),
            File(id="file:tls-renew", path=SCRIPT, content=programs.text("tls_renew.sh").encode(), mode=0o755),
            Issuer(id="certificate:issuer", path=ISSUER, root=material(context, ROOT), names=names(certificates)),
            *_units(certificates),
            Service(id=f"unit:{TIMER}", unit=TIMER, cost="nobody waits for it"),
        ]
        return [resource.of(self.name) for resource in resources]

    def preflight(self, context: Context) -> Iterable[Check]:
        return ()

    def headline(self, context: Context) -> str:
        shown = ", ".join(each.title for each in of(context))
        return f"by the stack's own root, for {shown}" if shown else "none: what needs one was here before"


def of(context: Context) -> tuple[HostCertificate, ...]:
    """The certificates that this host makes for its services."""
    return tuple(found for service in _SERVICES if (found := service(context)) is not None)


def names(certificates: Iterable[HostCertificate]) -> tuple[str, ...]:
    """All that the host's issuer may certify."""
    return tuple(dict.fromkeys(name for each in certificates for name in each.names))


def _units(certificates: Iterable[HostCertificate]) -> list[Resource]:
    """The timer and what it starts, which is no service that runs and would be asked whether it reads today's file."""
    folders = (each.path.rpartition("/")[0] for each in certificates)
    elsewhere = sorted({folder for folder in folders if folder != FOLDER and not folder.startswith(f"{FOLDER}/")})
    return [
        File(
            id=f"file:{unit}",
            path=f"{UNITS}/{unit}",
            content=render(f"{unit}.j2", elsewhere=elsewhere).encode(),
            check_in_place="systemctl daemon-reload",
        )
        for unit in (SERVICE, TIMER)
    ]


STEP = Certificates()
