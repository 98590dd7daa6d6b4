"""MLflow's login and database, and the file that says which database it is; how depends on the engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources.mark import MarkProbe
from provisioner.resources.paths import PathProbe
from provisioner.settings import Settings
from provisioner.steps import Context, dbms, own_accounts
from provisioner.values import dataclass

IDENTITY = "/etc/mlflow/database.identity"


@dataclass(frozen=True)
class DatabaseStep:
    """The login, its database and the file that names it."""

    name: str = "database"
    summary: str = "MLflow's role and database"
    needs: tuple[str, ...] = ("dbms",)
    provides: str = "database"
    roles: tuple[str, ...] = ("database",)

    def applies(self, settings: Settings) -> bool:
        return dbms.known(settings)

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        database, engine = context.settings.database, dbms.of(context.settings)
        more = engine.servers(context, own_accounts.database(context)) if own_accounts.wanted(context) else ()
        return (
            *engine.servers(context),
            MarkProbe(f"role.{database.user}"),
            MarkProbe(f"database.{database.name}"),
            PathProbe(IDENTITY),
            *more,
        )

    def resources(self, context: Context) -> Sequence[Resource]:
        return [resource.of(self.name) for resource in dbms.of(context.settings).databases(context)]

    def preflight(self, context: Context) -> Iterable[Check]:
        return ()

    def headline(self, context: Context) -> str:
        database = context.settings.database
        if database.name == database.user:
            return f"role and database {database.name}"
        return f"role {database.user}, database {database.name}"


STEP = DatabaseStep()
