"""By what the servers of a store over several hosts know each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.settings import Settings
from provisioner.steps import Context, minio_cluster
from provisioner.steps.host_certificates import leaf
from provisioner.values import dataclass


@dataclass(frozen=True)
class Peers:
    """The certificate of this host's server, there before it starts."""

    name: str = "peers"
    summary: str = "the certificate of a store over several hosts"
    needs: tuple[str, ...] = ("certificates",)
    provides: str = "peers"
    roles: tuple[str, ...] = ("store",)

    def applies(self, settings: Settings) -> bool:
        return minio_cluster.applies(settings)

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        return ()

    def resources(self, context: Context) -> Sequence[Resource]:
        certificate = minio_cluster.certificate(context)
        return [] if certificate is None else [leaf(certificate, ()).of(self.name)]

    def preflight(self, context: Context) -> Iterable[Check]:
        return ()

    def headline(self, context: Context) -> str:
        return "a certificate of the stack's own root for the store"


STEP = Peers()
