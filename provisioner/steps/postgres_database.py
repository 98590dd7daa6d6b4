"""The role and the databases of MLflow in PostgreSQL."""

from __future__ import annotations

from provisioner.engine.resource import Resource
from provisioner.resources.postgresql import conf
from provisioner.resources.postgresql.database import Database, Identity
from provisioner.resources.postgresql.role import Role
from provisioner.resources.postgresql.server import ServerProbe
from provisioner.secrets import Secret
from provisioner.steps import Context, own_accounts
from provisioner.steps.database import IDENTITY

SECRET = "database.password"  # noqa: S105  its name in the vault


def databases(
    context: Context, server: ServerProbe, accounts: ServerProbe, *, fresh: bool, guest: bool
) -> tuple[Resource, ...]:
    """`server` looks at MLflow's database, `accounts` at the one of its own accounts, where it keeps them."""
    database, needs = context.settings.database, ("step:postgres",)
    hosts = context.here.topology.count("mlflow")
    limit = conf.connections(context.settings.mlflow.workers, own_accounts.wanted(context), hosts)
    role = Role(
        id=f"role:{database.user}",
        name=database.user,
        password=context.secrets.get(SECRET, Secret("")),
        limit=limit,
        server=server,
        fresh=fresh,
        guest=guest,
        needs=needs,
    )

    def one(probe: ServerProbe, needs: tuple[str, ...]) -> Database:
        return Database(
            id=f"database:{probe.database}",
            name=probe.database,
            owner=database.user,
            limit=limit,
            server=probe,
            fresh=fresh,
            guest=guest,
            needs=needs,
        )

    resources: tuple[Resource, ...] = (
        role,
        one(server, needs),
        Identity(id="file:database.identity", path=IDENTITY, server=server, fresh=fresh, needs=needs),
    )
    if own_accounts.wanted(context):
        # Apart from the runs: migrations of both in one have broken each other (mlflow/mlflow 18760, 19299).
        # It belongs to the same role: one process opens both.
        after = (*needs, role.id)
        resources += (
            one(accounts, after),
            Identity(
                id="file:accounts.identity", path=own_accounts.IDENTITY, server=accounts, fresh=fresh, needs=after
            ),
        )
    return resources
