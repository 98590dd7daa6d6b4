"""The role and the database of MLflow, and the file that says which database it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources.mark import MarkProbe
from provisioner.resources.paths import PathProbe
from provisioner.resources.postgresql import conf
from provisioner.resources.postgresql.clusters import VERSIONS, Cluster
from provisioner.resources.postgresql.database import Database, Identity
from provisioner.resources.postgresql.role import Role
from provisioner.secrets import Secret
from provisioner.settings import Settings
from provisioner.steps import Context, own_accounts
from provisioner.steps.postgres import is_guest, seen_clusters, server
from provisioner.values import dataclass

IDENTITY = "/etc/mlflow/database.identity"
SECRET = "database.password"  # noqa: S105  its name in the vault


@dataclass(frozen=True)
class DatabaseStep:
    """The role, its database and the file that names it."""

    name: str = "database"
    summary: str = "MLflow's role and database"
    needs: tuple[str, ...] = ("dbms",)
    provides: str = "database"
    roles: tuple[str, ...] = ("database",)

    def applies(self, settings: Settings) -> bool:
        return settings.database.engine == "postgresql"

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        database = context.settings.database
        return (
            *(server(context, Cluster(version)) for version in VERSIONS),
            MarkProbe(f"role.{database.user}"),
            MarkProbe(f"database.{database.name}"),
            PathProbe(IDENTITY),
            *_accounts_looks(context),
        )

    def resources(self, context: Context) -> Sequence[Resource]:
        database = context.settings.database
        probe, guest = server(context), is_guest(context)
        fresh = not seen_clusters(context).found
        limit = conf.connections(context.settings.mlflow.workers, own_accounts.wanted(context))
        resources: tuple[Resource, ...] = (
            Role(
                id=f"role:{database.user}",
                name=database.user,
                password=password(context),
                limit=limit,
                server=probe,
                fresh=fresh,
                guest=guest,
                needs=("step:postgres",),
            ),
            Database(
                id=f"database:{database.name}",
                name=database.name,
                owner=database.user,
                limit=limit,
                server=probe,
                fresh=fresh,
                guest=guest,
                needs=("step:postgres",),
            ),
            Identity(id="file:database.identity", path=IDENTITY, server=probe, fresh=fresh, needs=("step:postgres",)),
        )
        if own_accounts.wanted(context):
            resources += _accounts(context, limit, fresh, guest)
        return [resource.of(self.name) for resource in resources]

    def preflight(self, context: Context) -> Iterable[Check]:
        return ()

    def headline(self, context: Context) -> str:
        database = context.settings.database
        if database.name == database.user:
            return f"role and database {database.name}"
        return f"role {database.user}, database {database.name}"


def _accounts_looks(context: Context) -> tuple[Probe[Any], ...]:
    if not own_accounts.wanted(context):
        return ()
    name = own_accounts.database(context)
    return tuple(server(context, Cluster(version), name) for version in VERSIONS)


def _accounts(context: Context, limit: int, fresh: bool, guest: bool) -> tuple[Resource, ...]:
    """The database of MLflow's own accounts, apart from the runs: migrations of both in one have broken each other
    (mlflow/mlflow 18760, 19299). It belongs to the same role: one process opens both."""
    name = own_accounts.database(context)
    probe, needs = server(context, database=name), ("step:postgres", f"role:{context.settings.database.user}")
    return (
        Database(
            id=f"database:{name}",
            name=name,
            owner=context.settings.database.user,
            limit=limit,
            server=probe,
            fresh=fresh,
            guest=guest,
            needs=needs,
        ),
        Identity(id="file:accounts.identity", path=own_accounts.IDENTITY, server=probe, fresh=fresh, needs=needs),
    )


def password(context: Context) -> Secret:
    return context.secrets.get(SECRET, Secret(""))


def login(context: Context, socket: Path) -> dict[str, Any]:
    """Arguments of `psycopg2.connect` (and of `verify.behind.postgresql`) for MLflow's own role over
    `session.forward(5432)`, whose Unix socket is `socket`."""
    database = context.settings.database
    return {
        "host": str(socket.parent),
        "port": int(socket.name.rpartition(".")[2]),
        "name": database.name,
        "user": database.user,
        "password": password(context),
    }


STEP = DatabaseStep()
