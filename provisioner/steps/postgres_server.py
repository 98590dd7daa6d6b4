"""What is known of the PostgreSQL that this stack uses, and what its files shall say."""

from __future__ import annotations

from provisioner.assets import render
from provisioner.resources.paths import PathProbe
from provisioner.resources.postgresql import clusters, conf, hba
from provisioner.resources.postgresql.clusters import Cluster, Clusters, ClustersProbe
from provisioner.resources.postgresql.server import DOWN, ServerProbe, ServerState
from provisioner.steps import Context, own_accounts, postgres_access, sizes
from provisioner.steps.host_certificates import HostCertificate


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


def probe(context: Context, cluster: Cluster | None = None, database: str = "") -> ServerProbe:
    """The look at a cluster, the role and one database: MLflow's, or another of its."""
    wanted = context.settings.database
    return ServerProbe((cluster or chosen(context)).version, wanted.user, database or wanted.name)


def state(context: Context) -> ServerState:
    """What the server said; DOWN in the guess, on a fresh host and while it is stopped."""
    return context.known(probe(context), DOWN)


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


def elsewhere(data: str) -> bool:
    """A data directory that the distribution's unit does not wait for."""
    return data.startswith("/") and data.isprintable() and not data.startswith("/var/lib/postgresql/")


def limits(context: Context) -> str:
    own = sizes.of(context)
    return render(
        "postgresql/limits.conf.j2",
        memory=own.database,
        tasks=own.database_tasks,
        allowed=sizes.allowed(postgres_access.clients(context)),
    )
