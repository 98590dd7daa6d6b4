"""What the server needs to keep accounts of its own, and the accounts themselves."""

from __future__ import annotations

from provisioner import accounts
from provisioner.engine.resource import Resource
from provisioner.resources.file import File, NoFile
from provisioner.resources.mlflow_users import Users
from provisioner.resources.python_env import PythonEnv
from provisioner.resources.schema import Schema
from provisioner.runtime import mlflow as runtime
from provisioner.steps import Context, dbms, far_database, mlflow_environment, own_accounts

UNIT = "mlflow-server.service"
_ENVIRONMENT = "/etc/mlflow/mlflow.env"


def before(context: Context, venv: PythonEnv, waits: tuple[str, ...] = ()) -> tuple[Resource, ...]:
    """What must be there before a start with accounts of its own; nothing where nginx asks for the login.
    `waits`: what the tables wait for besides the database."""
    if not own_accounts.wanted(context):
        return ()
    far = far_database.look(context, venv.path, accounts=True)
    return (
        File(
            id="file:mlflow-accounts",
            path=own_accounts.INI,
            content=own_accounts.ini(context).encode(),
            mode=0o600,
            hide=("database_uri",),
        ),
        File(
            id="file:mlflow-admin",
            path=own_accounts.FIRST,
            content=own_accounts.first_start(context).encode(),
            mode=0o600,
            hide=("*",),
        ),
        Schema(
            id="schema:accounts",
            environment=venv.path,
            env_file=_ENVIRONMENT,
            server=far or dbms.of(context.settings).server(context, own_accounts.database(context)),
            head=runtime.ACCOUNTS_HEAD,
            accounts=True,
            unit=UNIT if far else "",
            needs=(venv.id, f"step:{dbms.maker(context.settings)}", *waits),
        ),
    )


def after(context: Context) -> tuple[Resource, ...]:
    """The accounts once the server runs; or, where nginx asks for the login, that nothing of theirs stays.
    Of several servers, which have the same accounts, the first is asked."""
    if own_accounts.wanted(context):
        return (users(context, frozenset(context.renewed)),) if context.here.first("mlflow") else ()
    head, reason = b"# Written by provision", "MLflow keeps no accounts any more"
    return (
        NoFile(id="file:mlflow-accounts", path=own_accounts.INI, ours=head, reason=reason),
        NoFile(id="file:mlflow-admin", path=own_accounts.FIRST, ours=head, reason=reason),
    )


def users(context: Context, tried: frozenset[str] = frozenset()) -> Users:
    """The accounts in MLflow; `tried`: those whose password must be the one of the secrets."""
    return Users(
        id="accounts:mlflow",
        operator=accounts.OPERATOR,
        passwords=accounts.passwords(context.secrets),
        ended=frozenset(context.ended),
        tried=tried,
        port=mlflow_environment.PORT,
        unit=UNIT,
        environment=f"{runtime.HOME}/{context.settings.mlflow.version}",
        env_file=_ENVIRONMENT,
        database=own_accounts.database(context),
        needs=(f"unit:{UNIT}",),
    )
