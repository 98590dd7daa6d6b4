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
from provisioner.resources.postgresql import clusters, psql
from provisioner.resources.postgresql.access import HostAccess
from provisioner.resources.postgresql.clusters import Cluster, ClustersProbe
from provisioner.resources.postgresql.overrides import Overrides
from provisioner.resources.postgresql.service import COST, BootService, ClusterService, Includes, MainCluster
from provisioner.resources.postgresql.units import ClusterUnitProbe
from provisioner.resources.unit import UnitProbe, record_line
from provisioner.settings import Settings
from provisioner.steps import Context, keeping, postgres_access
from provisioner.steps import postgres_server as server
from provisioner.steps.host_certificates import leaf
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
                PathProbe(server.drop_in_path(cluster)),
                PathProbe(server.limits_path(cluster)),
                PathProbe(f"{cluster.directory}/postgresql.conf", read=False),
            ]
        return found

    def resources(self, context: Context) -> Sequence[Resource]:
        cluster, guest = server.chosen(context), server.is_guest(context)
        fresh = not server.seen_clusters(context).found
        wanted = server.settings(context)
        rules = server.hba_path(context)
        shown = server.certificate(context)
        probe = server.probe(context, cluster)
        content = server.settings_file(context).encode()
        # Of a guest nothing but what it was started with is known, and its drop-in asks for no restart.
        own = () if guest else (server.drop_in_path(cluster), server.limits_path(cluster))
        reloads = (cluster.conf, rules, *own[1:], *((shown.path,) if shown else ()))
        inputs = (*reloads, *own[:1])
        drop_in = File(
            id="file:postgresql-service",
            path=server.drop_in_path(cluster),
            content=render(
                "postgresql/service.conf.j2",
                started=record_line(inputs),
                reloaded=record_line(inputs, directive="ExecReload"),
                guest=guest,
                data=cluster.data if server.elsewhere(cluster.data) else "",
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
            limits = File(
                id="file:postgresql-limits", path=server.limits_path(cluster), content=server.limits(context).encode()
            )
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
                    access=postgres_access.access(context, encrypted=server.encrypted(context)),
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
            server.seen_clusters(context),
            server.chosen(context),
            server.state(context),
            guest=server.is_guest(context),
            wanted=server.settings(context),
            clients=postgres_access.clients(context),
        )

    def version(self, context: Context) -> str:
        return server.state(context).version

    def headline(self, context: Context) -> str:
        version = server.state(context).version or server.chosen(context).version
        where = "was here before" if server.is_guest(context) else "from apt"
        far = ", ".join(postgres_access.clients(context))
        reach = f"loopback and {far}{' by TLS' if server.encrypted(context) else ''}" if far else "loopback only"
        return f"{version} {where}, {reach}"


STEP = Postgres()
