"""The environment of the MLflow server: every setting and secret it runs with."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from provisioner.assets import render
from provisioner.door import Door
from provisioner.secret_kinds import own_store
from provisioner.secrets import Secret
from provisioner.steps import Context, dbms, external_store, own_accounts, tls

HOST = "127.0.0.1"
PORT = 5500
HOME = "/var/lib/mlflow"
TEMPORARY = f"{HOME}/tmp"  # noqa: S108  our own, beside the data

SECRETS = (
    "MLFLOW_BACKEND_STORE_URI",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "MLFLOW_CRYPTO_KEK_PASSPHRASE",
    "PGPASSWORD",
)
# Ours by default, the operator's to change with mlflow.env.
_TUNABLE: Mapping[str, str] = {
    # (workers + the launcher) x 15 connections at most; the role's limit is sized for that.
    "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "5",
    "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "10",
    "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE": "1800",
    # nginx keeps connections for 60 s: closing earlier here would lose a request now and then.
    "MLFLOW_UVICORN_OPTS": "--timeout-keep-alive 75 --timeout-graceful-shutdown 30",
    # S3 servers other than Amazon's were broken by boto3's newer default checksums (boto/boto3#4392).
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    # 1.1 GiB for GenAI jobs; tracking, registry and artifacts do without (measured, 3.17.2).
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Empty: no list of models from the internet.
    "MLFLOW_MODEL_CATALOG_URI": "",
    "GIT_PYTHON_REFRESH": "quiet",
    "PYTHONUNBUFFERED": "1",
}


def variables(context: Context) -> dict[str, str | Secret]:
    """Name -> value, sorted. `mlflow.env` adds to them and may change what only tunes."""
    settings = context.settings
    ours: dict[str, str | Secret] = {
        "HOME": HOME,
        "TMPDIR": TEMPORARY,
        "MLFLOW_HOST": HOST,
        "MLFLOW_PORT": str(PORT),
        "MLFLOW_WORKERS": str(settings.mlflow.workers),
        **tracking(context),
        **artifacts(context),
        **store(context),
        "AWS_ACCESS_KEY_ID": secret(context, "store.user.key"),
        "AWS_SECRET_ACCESS_KEY": secret(context, "store.user.secret"),
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(allowed_hosts(context.door)),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(context.door.origins),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secret(context, "mlflow.flask-key"),
        **own_accounts.variables(context),
    }
    if tls.trusted_by_server(context):
        # The store is reached by the clients' own address: only boto3 asks for it.
        ours["AWS_CA_BUNDLE"] = tls.TRUST
    return dict(sorted({**_TUNABLE, **settings.mlflow.env, **ours}.items()))


NOTHING_LISTED = "/api/2.0/mlflow-artifacts/artifacts?path=.provision-health"
"""A list of a place in the bucket where nothing is: empty, once the bucket has answered."""


def tracking(context: Context) -> dict[str, str | Secret]:
    """Where experiments and runs are, or that this server has none: MLflow takes no database then."""
    if not context.settings.mlflow.tracks:
        return {"MLFLOW_ARTIFACTS_ONLY": "true"}
    return {
        "MLFLOW_BACKEND_STORE_URI": database_uri(context),
        "MLFLOW_CRYPTO_KEK_PASSPHRASE": secret(context, "mlflow.kek"),
        "MLFLOW_CRYPTO_KEK_VERSION": str(kek_version(context)),
    }


def artifacts(context: Context) -> dict[str, str]:
    """Whether MLflow passes artifacts on, and where they are. Directly: experiments are given an address of the
    store, and MLflow refuses to pass on (its pages still show artifacts, with its own key)."""
    settings = context.settings
    place = settings.artifacts.place(settings.store.bucket)
    if settings.artifacts.mode == "direct":
        return {"MLFLOW_DEFAULT_ARTIFACT_ROOT": place, "MLFLOW_SERVE_ARTIFACTS": "false"}
    return {"MLFLOW_ARTIFACTS_DESTINATION": place, "MLFLOW_SERVE_ARTIFACTS": "true"}


def store(context: Context) -> dict[str, str]:
    """Where the store is. Clients fetch artifacts by addresses that this server signs, which must be their own."""
    settings = context.settings
    if own_store(settings):
        return {"MLFLOW_S3_ENDPOINT_URL": context.door.url}
    style = "virtual" if external_store.virtual(settings) else "path"
    return {
        "MLFLOW_S3_ENDPOINT_URL": external_store.endpoint(settings),
        "AWS_DEFAULT_REGION": external_store.region(settings),
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": style,
    }


def text(context: Context) -> str:
    """/etc/mlflow/mlflow.env."""
    return render("mlflow.env.j2", variables=variables(context))


def database_uri(context: Context) -> Secret:
    """Where the runs are."""
    return dbms.of(context.settings).uri(context, context.settings.database.name)


def allowed_hosts(door: Door) -> tuple[str, ...]:
    """What MLflow lets stand in the Host header, as fnmatch patterns; it compares case and port."""
    hosts: list[str] = []
    for name in (*door.names, "localhost", HOST):
        if _is_ipv6(name):
            hosts += [f"[{name}]", f"[[]{name}]:*"]
        else:
            hosts += [name, f"{name}:*"]
    return tuple(dict.fromkeys(hosts))


def kek_version(context: Context) -> int:
    """The version that MLflow notes beside every key which it wraps with the passphrase."""
    return context.generations.get("mlflow.kek", 1)


def _is_ipv6(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).version == 6
    except ValueError:
        return False


def secret(context: Context, name: str) -> Secret:
    """A secret by vault name; empty in the guess."""
    return context.secrets.get(name) or Secret("")
