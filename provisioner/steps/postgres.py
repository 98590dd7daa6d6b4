"""PostgreSQL of the distribution: its cluster `main`, our file in conf.d and our block in pg_hba.conf."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.assets import render
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources.certificate import HEAD
from provisioner.resources.file import Directory, File, NoFile
from provisioner.resources.package import Package, PackageProbe
from provisioner.resources.paths import PathProbe
from provisioner.resources.postgresql import clusters, conf, hba, psql
from provisioner.resources.postgresql.access import HostAccess
from provisioner.resources.postgresql.clusters import Cluster, Clusters, ClustersProbe
from provisioner.resources.postgresql.overrides import Overrides
from provisioner.resources.postgresql.server import DOWN, ServerProbe, ServerState
from provisioner.resources.postgresql.service import COST, BootService, ClusterService, Includes, MainCluster
from provisioner.resources.postgresql.units import ClusterUnitProbe
from provisioner.resources.unit import UnitProbe, record_line
from provisioner.settings import Settings
from provisioner.steps import Context, keeping, own_accounts, postgres_access, sizes
from provisioner.steps.host_certificates import HostCertificate, leaf
from provisioner.steps.postgres_answers import Answers
from provisioner.steps.postgres_checks import checks
from provisioner.values import dataclass

PORT = 5432


@dataclass(frozen=True)
class Postgres(Answers):
    """The distribution's PostgreSQL."""

    name: str = "postgres"
    summary: str = "the PostgreSQL server of the distribution"
    needs: tuple[str, ...] = ("certificates",)
    provides: str = "dbms"
    roles: tuple[str, ...] = ("database",)
    engine: str = "postgresql"
    port: int = PORT
    data: str = "/var/lib/postgresql"

    def applies(self, settings: Settings) -> bool:
        return settings.mlflow.tracks and settings.database.engine == self.engine

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        """Of every version that a supported release has: which one it is need not be known before,
        and a run with nothing to change sees all with one exec."""
        found: list[Probe[Any]] = [ClustersProbe(), PackageProbe("postgresql"), UnitProbe("postgresql.service")]
        found += self.servers(context)
        for version in clusters.VERSIONS:
            cluster = Cluster(version)
            found += [
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
        rules = hba_path(context)
        shown = certificate(context)
        probe = server(context, cluster)
        content = settings_file(context).encode()
        # Of a guest nothing but what it was started with is known, and its drop-in asks for no restart.
        own = () if guest else (drop_in_path(cluster), limits_path(cluster))
        reloads = (cluster.conf, rules, *own[1:], *((shown.path,) if shown else ()))
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
        if shown is not None:
            # Ready before the server is told of it: with a file that is not there it would not start.
            folder = Directory(
                id="directory:tls-postgresql",
                path=shown.path.rpartition("/")[0],
                group=shown.group,
                mode=0o2750,
                needs=there,
            )
            resources += [folder.of(self.name), leaf(shown, there).of(self.name)]
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
                    path=rules,
                    access=postgres_access.access(context, encrypted=encrypted(context)),
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
                f'[ -n "$port" ] && "$bin/pg_isready" -q -h {psql.SOCKETS} -p "$port"'
                + (f" && {psql.shows(shown.path)}" if shown else ""),
                health_seconds=30,
                cost=COST,
                cluster=cluster,
                wanted=wanted,
                server=probe,
                guest=guest,
                certificate=shown.path if shown else "",
                needs=there,
            ).of(self.name)
        )
        if shown is None:
            reason = "no other host reaches PostgreSQL any more"
            gone = NoFile(id="file:tls-postgresql", path=postgres_access.CERTIFICATE, ours=HEAD, reason=reason)
            resources.append(gone.of(self.name))
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
            clients=postgres_access.clients(context),
        )

    def version(self, context: Context) -> str:
        return state(context).version

    def headline(self, context: Context) -> str:
        version = state(context).version or chosen(context).version
        where = "was here before" if is_guest(context) else "from apt"
        far = ", ".join(postgres_access.clients(context))
        reach = f"loopback and {far}{' by TLS' if encrypted(context) else ''}" if far else "loopback only"
        return f"{version} {where}, {reach}"


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


def settings(context: Context) -> dict[str, str]:
    """The settings of our file in conf.d, by name."""
    database, workers = context.settings.database, context.settings.mlflow.workers
    more, allow = own_accounts.wanted(context), bool(postgres_access.clients(context))
    hosts = context.here.topology.count("mlflow")
    if not is_guest(context):
        shown = postgres_access.CERTIFICATE if allow else ""
        return conf.owned(certificate=shown, workers=workers, extra=database.settings, accounts=more, hosts=hosts)
    cluster = chosen(context)
    standing = context.seen.get(PathProbe(cluster.conf))
    current = standing.content if standing is not None and isinstance(standing.content, bytes) else None
    return conf.guest(
        cluster,
        state(context),
        current,
        allow=allow,
        workers=workers,
        extra=database.settings,
        accounts=more,
        hosts=hosts,
    )


def settings_file(context: Context) -> str:
    values = {name: conf.literal(value) for name, value in settings(context).items()}
    return render("postgresql/50-mlflow.conf.j2", settings=values, guest=is_guest(context))


def certificate(context: Context) -> HostCertificate | None:
    """What the server shows to other hosts. One that was here before shows its own, or none."""
    return None if is_guest(context) else postgres_access.certificate(context, chosen(context).unit)


def encrypted(context: Context) -> bool:
    """Other hosts get in by TLS only: always, but for a guest that speaks none. While that one does not answer,
    what stands in pg_hba.conf says which it is."""
    server_state = state(context)
    if not is_guest(context):
        return True
    if server_state.running:
        return server_state.speaks_tls
    standing = context.seen.get(PathProbe(hba_path(context)))
    return not (standing is not None and isinstance(standing.content, bytes) and hba.plain(standing.content))


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
        memory=own.database,
        tasks=own.database_tasks,
        allowed=sizes.allowed(postgres_access.clients(context)),
    )


STEP = Postgres()
