"""MLflow's own accounts (`access.auth = "mlflow"`): where they are kept and what the server reads of them.

The server itself asks for the login then, nginx passes it on. Passwords are the stack's secrets as ever:
they are given to MLflow when an account is made, and again when it gets another one.
"""

from __future__ import annotations

import base64

from provisioner import accounts
from provisioner.assets import render
from provisioner.secrets import Secret
from provisioner.settings import Settings
from provisioner.steps import Context, dbms

APP = "--app-name basic-auth"
"""What the server is started with: there is no variable for it."""
INI = "/etc/mlflow/basic_auth.ini"
SEEN_INI = "/run/credentials/mlflow-server.service/basic_auth.ini"
"""Where systemd shows the file to the service, and to nobody else."""
FIRST = "/etc/mlflow/admin.env"
"""The operator's account for the one start that makes it; later ones do not read its password."""
IDENTITY = "/etc/mlflow/accounts.identity"
VERSION_TABLE = "alembic_version_auth"
"""Where the schema of the accounts has its version."""
SITE = "/etc/nginx/conf.d/provision-mlflow.conf"
"""nginx's, which passes the login on."""
NGINX_LOGIN = "/etc/nginx/provision-mlflow.health"
KEPT = 5
"""Seconds for which a server process takes a login for good that it has checked: a check costs 70 ms."""
SHORTEST = 12
"""Characters of a password; the server does not start with a shorter one."""
_NAMED = 58


def wanted(context: Context) -> bool:
    """MLflow keeps the accounts."""
    return chosen(context.settings)


def chosen(settings: Settings) -> bool:
    return settings.access.auth == "mlflow"


def database(context: Context) -> str:
    """The database of the accounts; names have 63 characters at most."""
    return f"{context.settings.database.name[:_NAMED]}_auth"


def ini(context: Context) -> str:
    """/etc/mlflow/basic_auth.ini, without the database's password where the driver takes that from elsewhere."""
    uri, _ = dbms.of(context.settings).accounts_uri(context, database(context))
    text = uri.reveal().replace("%", "%%")
    return render("mlflow-accounts.ini.j2", uri=text, operator=accounts.OPERATOR, kept=KEPT)


def variables(context: Context) -> dict[str, str | Secret]:
    """What MLflow's environment has besides."""
    if not wanted(context):
        return {}
    _, besides = dbms.of(context.settings).accounts_uri(context, database(context))
    return {"MLFLOW_AUTH_CONFIG_PATH": SEEN_INI, **besides}


def first_start(context: Context) -> str:
    """/etc/mlflow/admin.env."""
    login = {
        "MLFLOW_AUTH_ADMIN_PASSWORD": operator(context),
        "MLFLOW_AUTH_ADMIN_USERNAME": accounts.OPERATOR,
    }
    return render("mlflow.env.j2", variables=login)


def operator(context: Context) -> Secret:
    return context.secrets.get("login") or Secret("")


def nginx_login(context: Context) -> str:
    """The line by which nginx asks MLflow for its health, in a file of root's."""
    pair = base64.b64encode(f"{accounts.OPERATOR}:{operator(context).reveal()}".encode()).decode()
    return f'# Written by provision: for the look behind /health.\nproxy_set_header Authorization "Basic {pair}";\n'
