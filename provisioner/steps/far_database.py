"""A database on another host than MLflow: how MLflow reaches it, and what it sees of it."""

from __future__ import annotations

from collections.abc import Iterable

from provisioner.certificates.material import trusted
from provisioner.engine.check import Check
from provisioner.engine.resource import Resource
from provisioner.resources.certificate import HEAD
from provisioner.resources.file import File
from provisioner.resources.remote_database import RemoteDatabase, identity
from provisioner.secret_kinds import own_database
from provisioner.steps import Context
from provisioner.steps.database import IDENTITY
from provisioner.steps.database_uri import CA

_ENV_FILE = "/etc/mlflow/mlflow.env"


def host(context: Context) -> str:
    """Its address; empty where the database is on this host."""
    settings = context.settings
    if context.here.holds("database") or not own_database(settings) or not settings.mlflow.tracks:
        return ""
    return next((member.address for member in context.here.others("database")), "")


def look(context: Context, environment: str) -> RemoteDatabase | None:
    """What MLflow's own environment sees of it; None where the database is on this host."""
    if not own_database(context.settings):
        return RemoteDatabase(environment, _ENV_FILE, context.settings.database.name)
    return RemoteDatabase(environment, _ENV_FILE, context.settings.database.name) if host(context) else None


def files(context: Context, environment: str) -> list[Resource]:
    """The root that the server is checked against, and the file that says which database it is."""
    seen = look(context, environment)
    if seen is None or not own_database(context.settings):
        return []  # of an external one its own step has them
    root = f"{HEAD.decode()}the root of this stack's own certificates.\n{trusted('internal', context.secrets) or ''}"
    found: list[Resource] = [File(id="file:database-ca", path=CA, content=root.encode())]
    known = identity(context.seen.get(seen))
    if known is not None:
        # Until it is seen nothing says which one it is; what the file says stays.
        found.append(File(id="file:database.identity", path=IDENTITY, content=known))
    return found


def inputs(context: Context) -> tuple[str, ...]:
    """What MLflow reads of it when it starts."""
    if not own_database(context.settings):
        return (CA,) if context.settings.database.ca else ()
    return (CA,) if host(context) else ()


def checks(context: Context) -> Iterable[Check]:
    if host(context) and context.settings.access.auth == "mlflow":
        yield Check(
            "accounts-elsewhere",
            "login",
            "fail",
            detail="MLflow's own accounts want its database on the same host in this version of provision",
            fix='access.auth = "password", or mlflow and database in [roles] on one host',
        )
