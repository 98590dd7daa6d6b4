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
from provisioner.steps import Context
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

    def applies(self, settings: Settings) -> bool:
        return settings.database.engine == "postgresql"

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        database = context.settings.database
        return (
            *(server(context, Cluster(version)) for version in VERSIONS),
            MarkProbe(f"role.{database.user}"),
            MarkProbe(f"database.{database.name}"),
            PathProbe(IDENTITY),
        )

    def resources(self, context: Context) -> Sequence[Resource]:
        database = context.settings.database
        probe, guest = server(context), is_guest(context)
        fresh = not seen_clusters(context).found
        limit = conf.connections(context.settings.mlflow.workers)
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
        return [resource.of(self.name) for resource in resources]

    def preflight(self, context: Context) -> Iterable[Check]:
        return ()

    def headline(self, context: Context) -> str:
        database = context.settings.database
        if database.name == database.user:
            return f"role and database {database.name}"
        return f"role {database.user}, database {database.name}"


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
