"""What would go wrong with PostgreSQL on a host, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from provisioner.engine.check import Check
from provisioner.resources.postgresql.clusters import Cluster, Clusters, choose
from provisioner.resources.postgresql.server import ServerState
from provisioner.steps import Context

PORT = 5432
_NEEDED = 2**30
"""Bytes for the packages (about 250 MB), a cluster (about 60 MB) and room for its log."""


def checks(
    context: Context,
    seen: Clusters,
    cluster: Cluster,
    state: ServerState,
    *,
    guest: bool,
    wanted: Mapping[str, str],
    clients: tuple[str, ...],
) -> Iterable[Check]:
    """`wanted`: the settings of this stack's own file; `clients`: networks beyond this host."""
    yield _port(context, seen, cluster)
    yield _disk(context, bool(seen.found))
    yield from _several(seen, cluster, guest)
    if cluster.running and not state.running:
        yield Check(
            "postgres-admin",
            "PostgreSQL",
            "fail",
            detail=f"its administrator cannot log in on the local socket: {state.error.splitlines()[0][:200]}"
            if state.error
            else "it runs and does not answer",
            fix=f"have this line first in {cluster.hba}:  local all postgres peer",
        )
    if state.recovery:
        yield Check(
            "postgres-standby",
            "PostgreSQL",
            "fail",
            detail=f"cluster {cluster.version}/main is a standby, it cannot be written",
            fix="use the host of the primary",
        )
    if state.hba_errors:
        yield Check(
            "postgres-hba",
            "PostgreSQL",
            "fail",
            detail=f"{cluster.hba} has errors, a reload would not take it:\n" + "\n".join(state.hba_errors[:5]),
            fix=f"correct these lines in {cluster.hba}",
        )
    if state.database is not None and state.database.encoding != "UTF8":
        name, encoding = context.settings.database.name, state.database.encoding
        yield Check(
            "database-encoding",
            "database",
            "fail",
            detail=f"database {name} has the encoding {encoding}, MLflow needs UTF8",
            fix=f'sudo -u postgres psql -c "ALTER DATABASE {name} RENAME TO {name}_{encoding.lower()}"',
        )
    for line in state.shadows(wanted, cluster.conf) if guest else ():
        yield Check(
            "postgres-override",
            "PostgreSQL",
            "warn",
            detail=f"{line.name} = {line.value[:60]} in {line.path} overrides this stack's {wanted[line.name][:60]}",
            fix=f'sudo -u postgres psql -c "ALTER SYSTEM RESET {line.name}"'
            if line.path.endswith("/postgresql.auto.conf")
            else f"take line {line.line} out of {line.path}",
        )
    if guest and clients and state.running:
        yield _tls(state.speaks_tls, clients)
    if guest and cluster.start != "auto":
        yield Check(
            "postgres-boot",
            "PostgreSQL",
            "warn",
            detail=f"{cluster.directory}/start.conf says {cluster.start}: it will not start at boot",
            fix=f"write auto into {cluster.directory}/start.conf",
        )


def _tls(spoken: bool, clients: tuple[str, ...]) -> Check:
    """A guest keeps its own certificate, and its own mind about TLS."""
    if spoken:
        return Check(
            "postgres-tls",
            "PostgreSQL's TLS",
            "ok",
            detail="was here before and shows its own certificate: this stack's root says nothing of it",
        )
    return Check(
        "postgres-tls",
        "PostgreSQL's TLS",
        "warn",
        detail=f"was here before with ssl = off: what {', '.join(clients)} reads and writes can be read on its way",
        fix="give it a certificate and ssl = on, then run again: plain connections are refused from then on",
    )


def _port(context: Context, seen: Clusters, cluster: Cluster) -> Check:
    title = f"port {PORT}"
    holder = next((each for each in context.facts.listeners if each.port == PORT), None)
    process = (holder.process or "a process that is not told") if holder else ""
    if seen.found and cluster.port != PORT:
        return Check(
            "postgres-port",
            title,
            "fail",
            detail=f"PostgreSQL {cluster.version} is on port {cluster.port}, MLflow is set up for {PORT}",
            fix=f"set port = {PORT} in {cluster.directory}/postgresql.conf, and restart it",
        )
    if holder is not None and not (process.startswith("postgres") and seen.found):
        return Check(
            "postgres-port",
            title,
            "fail",
            detail=f"in use by {process}"
            + (", which the distribution's packaging does not know" if process.startswith("postgres") else ""),
            fix=f"stop it, or move it to another port than {PORT}",
        )
    return Check("postgres-port", title, "ok", detail="free" if holder is None else f"PostgreSQL {cluster.version}")


def _disk(context: Context, there: bool) -> Check:
    free = context.facts.free.get("/var/lib")
    needed = _NEEDED // 4 if there else _NEEDED
    if free is None or free >= needed:
        return Check("postgres-disk", "disk", "ok", detail="" if free is None else f"{free / 2**30:.1f} GB in /var/lib")
    return Check(
        "postgres-disk",
        "disk",
        "fail",
        detail=f"/var/lib has {free / 2**20:.0f} MB free, {needed // 2**20} MB are needed",
        fix=f"free {-((free - needed) // 2**20)} MB, or mount a larger disk at /var/lib/postgresql",
    )


def _several(seen: Clusters, cluster: Cluster, guest: bool) -> Iterable[Check]:
    found = choose(seen)
    names = [f"{each.version}/main" for each in seen.found] + list(seen.others)
    if found is not None and len(names) > 1:
        why = f" ({found[1]})" if found[1] else ""
        yield Check(
            "postgres-clusters",
            "PostgreSQL",
            "warn",
            detail=f"{len(names)} clusters: {', '.join(names)}; {cluster.version}/main is used{why}",
        )
    elif found is None and seen.others:
        yield Check(
            "postgres-clusters",
            "PostgreSQL",
            "warn",
            detail=f"cluster {', '.join(seen.others)} stays as it is; a cluster main is made beside it",
        )
    elif guest:
        yield Check(
            "postgres-guest",
            "PostgreSQL",
            "ok",
            detail=f"{cluster.version}/main was here before: it keeps its settings, ours are added",
        )
