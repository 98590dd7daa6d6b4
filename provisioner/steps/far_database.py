"""A database on another host than MLflow: how MLflow reaches it, and what it sees of it."""

from __future__ import annotations

from provisioner.certificates.material import trusted
from provisioner.engine.resource import Resource
from provisioner.resources.certificate import HEAD
from provisioner.resources.file import File
from provisioner.resources.remote_database import RemoteDatabase, identity
from provisioner.secret_kinds import own_database
from provisioner.steps import Context, own_accounts
from provisioner.steps.database import IDENTITY
from provisioner.steps.database_uri import CA

_ENV_FILE = "/etc/mlflow/mlflow.env"


def host(context: Context) -> str:
    """Its address; empty where the database is on this host."""
    settings = context.settings
    if context.here.holds("database") or not own_database(settings) or not settings.mlflow.tracks:
        return ""
    return next((member.address for member in context.here.others("database")), "")


def look(context: Context, environment: str, *, accounts: bool = False) -> RemoteDatabase | None:
    """What MLflow's own environment sees of it, or of the one of its `accounts`; None where the database is on this
    host."""
    if own_database(context.settings) and not host(context):
        return None
    if accounts:
        name, table = own_accounts.database(context), own_accounts.VERSION_TABLE
        return RemoteDatabase(environment, _ENV_FILE, name, table)
    return RemoteDatabase(environment, _ENV_FILE, context.settings.database.name)


def files(context: Context, environment: str) -> list[Resource]:
    """The root that the server is checked against, and the file that says which database it is."""
    seen = look(context, environment)
    if seen is None or not own_database(context.settings):
        return []  # of an external one its own step has them
    root = f"{HEAD.decode()}the root of this stack's own certificates.\n{trusted('internal', context.secrets) or ''}"
    found: list[Resource] = [File(id="file:database-ca", path=CA, content=root.encode())]
    named: list[tuple[str, RemoteDatabase | None, str]] = [("database", seen, IDENTITY)]
    if own_accounts.wanted(context):
        named.append(("accounts", look(context, environment, accounts=True), own_accounts.IDENTITY))
    for name, asked, path in named:
        known = identity(context.seen.get(asked)) if asked is not None else None
        if known is not None:
            # Until it is seen nothing says which one it is; what the file says stays.
            found.append(File(id=f"file:{name}.identity", path=path, content=known))
    return found


def inputs(context: Context) -> tuple[str, ...]:
    """What MLflow reads of it when it starts."""
    if not own_database(context.settings):
        return (CA,) if context.settings.database.ca else ()
    return (CA,) if host(context) else ()
