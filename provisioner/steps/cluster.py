"""The servers of a store over several hosts as one: restarted one after the other, and waited for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.settings import Settings
from provisioner.steps import Context, minio, minio_cluster, minio_pools
from provisioner.values import dataclass


@dataclass(frozen=True)
class ClusterStep:
    """What takes more than one of the store's hosts."""

    name: str = "cluster"
    summary: str = "the object store over several hosts"
    needs: tuple[str, ...] = ("store",)
    provides: str = "cluster"
    roles: tuple[str, ...] = ("store",)

    def applies(self, settings: Settings) -> bool:
        return minio_cluster.applies(settings)

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        return ()

    def resources(self, context: Context) -> Sequence[Resource]:
        resources: list[Resource] = []
        if minio.rolling(context):
            resources.append(minio.service(context, minio_cluster.whole(context), minio_cluster.turn(context)))
        resources += [minio_cluster.quorum(context), *minio_pools.marks(context)]
        return [resource.of(self.name) for resource in resources]

    def preflight(self, context: Context) -> Iterable[Check]:
        return ()

    def version(self, context: Context) -> str:
        return minio.STEP.version(context)

    def headline(self, context: Context) -> str:
        hosts = len(context.here.topology.of("store"))
        each = len(minio_cluster.drives(context))
        pools = len(minio_pools.pools(context))
        return f"{hosts * each} drives on {hosts} hosts{f', in {pools} pools' if pools > 1 else ''}"


STEP = ClusterStep()
