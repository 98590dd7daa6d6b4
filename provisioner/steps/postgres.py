"""PostgreSQL of the distribution: its cluster `main`, our file in conf.d and our block in pg_hba.conf."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.assets import render
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources.file import File
from provisioner.resources.package import Package, PackageProbe
from provisioner.resources.paths import PathProbe
from provisioner.resources.postgresql import clusters, conf, psql
from provisioner.resources.postgresql.access import HostAccess
from provisioner.resources.postgresql.clusters import Cluster, Clusters, ClustersProbe
from provisioner.resources.postgresql.hba import Access
from provisioner.resources.postgresql.overrides import Overrides
from provisioner.resources.postgresql.server import DOWN, ServerProbe, ServerState
from provisioner.resources.postgresql.service import COST, BootService, ClusterService, Includes, MainCluster
from provisioner.resources.postgresql.units import ClusterUnitProbe
from provisioner.resources.unit import UnitProbe, record_line
from provisioner.settings import Settings
from provisioner.steps import Context, keeping, own_accounts, sizes
from provisioner.steps.postgres_checks import checks
from provisioner.values import dataclass

PORT = 5432
_LOOPBACK = ("127.0.0.1/32", "::1/128")


@dataclass(frozen=True)
class Postgres:
    """The distribution's PostgreSQL."""

    name: str = "postgres"
    summary: str = "the PostgreSQL server of the distribution"
    needs: tuple[str, ...] = ()
    provides: str = "dbms"
    roles: tuple[str, ...] = ("database",)

    def applies(self, settings: Settings) -> bool:
        return settings.database.engine == "postgresql"

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        """Of every version that a supported release has: which one it is need not be known before,
        and a run with nothing to change sees all with one exec."""
        found: list[Probe[Any]] = [ClustersProbe(), PackageProbe("postgresql"), UnitProbe("postgresql.service")]
        for version in clusters.VERSIONS:
            cluster = Cluster(version)
            found += [
                server(context, cluster),
                PackageProbe(f"postgresql-{version}"),
                ClusterUnitProbe(cluster.unit),
                PathProbe(cluster.conf),
                PathProbe(cluster.hba),
                PathProbe(drop_in_path(cluster)),
                PathProbe(limits_path(cluster)),
                PathProbe(f"{cluster.directory}/postgresql.conf", read=False),
            ]
        return found

    def resources(self, context: Context) -> Sequence[Resource]:
        cluster, guest = chosen(context), is_guest(context)
        fresh = not seen_clusters(context).found
        wanted = settings(context)
        hba = hba_path(context)
        probe = server(context, cluster)
        content = settings_file(context).encode()
        # Of a guest nothing but what it was started with is known, and its drop-in asks for no restart.
        own = () if guest else (drop_in_path(cluster), limits_path(cluster))
        reloads = (cluster.conf, hba, *own[1:])
        inputs = (*reloads, *own[:1])
        drop_in = File(
            id="file:postgresql-service",
            path=drop_in_path(cluster),
            content=render(
                "postgresql/service.conf.j2",
                started=record_line(inputs),
                reloaded=record_line(inputs, directive="ExecReload"),
                guest=guest,
                data=cluster.data if _elsewhere(cluster.data) else "",
                home=cluster.data.startswith(("/home/", "/root/")),
            ).encode(),
        )
        made = MainCluster(id="cluster:main", cluster=cluster, needs=("package:postgresql",)).of(
            self.name, "postgres-cluster"
        )
        # Not the cluster alone: of a removed package it is still there.
        there = ("package:postgresql", made.id)
        # Ready before its first start, they make that start recorded and confined.
        resources: list[Resource] = [drop_in.of(self.name)]
        if not guest:
            limits = File(id="file:postgresql-limits", path=limits_path(cluster), content=_limits(context).encode())
            resources.append(limits.of(self.name))
        if fresh or not cluster.programs or not guest:
            resources.append(
                Package(
                    id="package:postgresql",
                    name="postgresql" if fresh else f"postgresql-{cluster.version}",
                    lane="apt",
                    size=52 * 2**20,
                    needs=(drop_in.id,),
                ).of(self.name)
            )
        resources.append(made)
        if wanted:
            includes = Includes(id="include:postgresql", cluster=cluster, guest=guest, needs=there)
            resources.append(includes.of(self.name))
        resources += [
            resource.of(self.name)
            for resource in (
                File(
                    id="file:postgresql-settings",
                    path=cluster.conf,
                    content=content,
                    keep=keeping.of_settings(content),
                    check_in_place=f"{psql.functions(cluster.version)}\naccepted",
                    needs=there,
                ),
                HostAccess(
                    id="access:postgresql",
                    path=hba,
                    access=access(context),
                    version=cluster.version,
                    keep=keeping.of_networks,
                    needs=there,
                ),
            )
        ]
        if not guest:
            overrides = Overrides(
                id="overrides:postgresql",
                cluster=cluster,
                wanted=wanted,
                server=probe,
                keep=keeping.of_values,
                needs=there,
            )
            resources.append(overrides.of(self.name))
        resources.append(
            ClusterService(
                id=f"unit:{cluster.unit}",
                unit=cluster.unit,
                inputs=inputs,
                reloads=reloads,
                health=f"{psql.running(cluster.version)}\n"
                f'[ -n "$port" ] && "$bin/pg_isready" -q -h {psql.SOCKETS} -p "$port"',
                health_seconds=30,
                cost=COST,
                cluster=cluster,
                wanted=wanted,
                server=probe,
                guest=guest,
                needs=there,
            ).of(self.name)
        )
        if not guest:
            # Its clusters start at boot only while this wrapper is enabled.
            boot = BootService(id="unit:postgresql.service", unit="postgresql.service", needs=there)
            resources.append(boot.of(self.name))
        return resources

    def preflight(self, context: Context) -> Iterable[Check]:
        return checks(
            context,
            seen_clusters(context),
            chosen(context),
            state(context),
            guest=is_guest(context),
            wanted=settings(context),
        )

    def version(self, context: Context) -> str:
        return state(context).version

    def headline(self, context: Context) -> str:
        version = state(context).version or chosen(context).version
        reach = "loopback and " + ", ".join(context.settings.database.allow)
        where = "was here before" if is_guest(context) else "from apt"
        return f"{version} {where}, {reach if context.settings.database.allow else 'loopback only'}"


def seen_clusters(context: Context) -> Clusters:
    return context.known(ClustersProbe(), Clusters())


def chosen(context: Context) -> Cluster:
    """The cluster that this stack uses: one that is there, else what the distribution brings."""
    seen = seen_clusters(context)
    found = clusters.choose(seen)
    if found is not None:
        return found[0]
    facts = context.facts
    return Cluster(clusters.expected(facts.distribution, facts.release, seen.candidate), initialised=False)


def is_guest(context: Context) -> bool:
    """PostgreSQL was there before this tool."""
    seen = seen_clusters(context)
    return bool(seen.found) and not seen.ours


def server(context: Context, cluster: Cluster | None = None, database: str = "") -> ServerProbe:
    """The look at a cluster, the role and one database: MLflow's, or another of its."""
    wanted = context.settings.database
    return ServerProbe((cluster or chosen(context)).version, wanted.user, database or wanted.name)


def state(context: Context) -> ServerState:
    """What the server said; DOWN in the guess, on a fresh host and while it is stopped."""
    return context.known(server(context), DOWN)


def stopped(context: Context) -> bool:
    """There is a cluster, and its server does not answer."""
    return bool(seen_clusters(context).found) and not state(context).running


def settings(context: Context) -> dict[str, str]:
    """The settings of our file in conf.d, by name."""
    database, workers = context.settings.database, context.settings.mlflow.workers
    more = own_accounts.wanted(context)
    if not is_guest(context):
        return conf.owned(allow=bool(database.allow), workers=workers, extra=database.settings, accounts=more)
    cluster = chosen(context)
    standing = context.seen.get(PathProbe(cluster.conf))
    current = standing.content if standing is not None and isinstance(standing.content, bytes) else None
    return conf.guest(
        cluster,
        state(context),
        current,
        allow=bool(database.allow),
        workers=workers,
        extra=database.settings,
        accounts=more,
    )


def settings_file(context: Context) -> str:
    values = {name: conf.literal(value) for name, value in settings(context).items()}
    return render("postgresql/50-mlflow.conf.j2", settings=values, guest=is_guest(context))


def access(context: Context) -> Access:
    """MLflow on the same host, and what `database.allow` adds."""
    database = context.settings.database
    more = (own_accounts.database(context),) if own_accounts.wanted(context) else ()
    return Access(database.name, database.user, tuple(dict.fromkeys((*_LOOPBACK, *database.allow))), more)


def hba_path(context: Context) -> str:
    """pg_hba.conf, or the file that an administrator put in its place."""
    known = state(context).settings.get("hba_file")
    return known.value if known is not None and known.value.startswith("/") else chosen(context).hba


def drop_in_path(cluster: Cluster) -> str:
    return f"/etc/systemd/system/{cluster.unit}.d/50-provision.conf"


def limits_path(cluster: Cluster) -> str:
    """A file of its own: what stands in it changes without a restart."""
    return f"/etc/systemd/system/{cluster.unit}.d/55-provision-limits.conf"


def _elsewhere(data: str) -> bool:
    """A data directory that the distribution's unit does not wait for."""
    return data.startswith("/") and data.isprintable() and not data.startswith("/var/lib/postgresql/")


def _limits(context: Context) -> str:
    own = sizes.of(context)
    return render(
        "postgresql/limits.conf.j2",
        memory=own.postgres,
        tasks=own.postgres_tasks,
        allowed=sizes.allowed(context.settings.database.allow),
    )


STEP = Postgres()
