"""Names that are somebody else's: MLflow's paths, the system's directories, PostgreSQL's words, our variables."""

from __future__ import annotations

import re
from collections.abc import Mapping


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# First path segments that MLflow 3.17, nginx or the store answer themselves: behind the one address a
# bucket of that name would hide them.
PATH_SEGMENTS = frozenset(
    _words("""
    ajax-api api assets docs favicon.ico gateway gateway-proxy get-artifact get-trace-artifact graphql health
    healthz index.html login logout metrics minio mlflow-artifacts model-versions oauth oidc openapi.json redoc
    robots.txt signup silo static static-files status users v1 version
    """)
)

# Ports that this tool's own services take on the same server, and SSH.
PORTS: Mapping[int, str] = {
    22: "SSH",
    3306: "MySQL",
    5432: "PostgreSQL",
    5500: "MLflow",
    9000: "the store",
    9001: "the store's console",
}

# Where nginx answers for the bucket with store.expose: beside the store's own ports, which listen on loopback.
EXPOSED = 9002

# Directories that belong to the system or to this tool with all that is below them ...
CLOSED_DIRECTORIES = _words("""
    /bin /boot /dev /etc /home /lib /lib32 /lib64 /libx32 /lost+found /opt/mlflow /proc /root /run /sbin /snap /sys
    /tmp /usr /var/backups /var/cache /var/crash /var/lib/apt /var/lib/dpkg /var/lib/mlflow /var/lib/mysql
    /var/lib/nginx /var/lib/postgresql /var/lib/private /var/lib/systemd /var/lib/ucf /var/local /var/lock /var/log
    /var/mail /var/opt /var/run /var/snap /var/spool /var/tmp /var/www
""")
# ... and those in which a directory of one's own is fine.
SHARED_DIRECTORIES = frozenset(_words("/ /media /mnt /opt /srv /var /var/lib"))

# Words of pg_hba.conf and of CREATE ROLE that are not names there.
PG_WORDS = frozenset(_words("all none public replication samegroup samerole sameuser"))
PG_DATABASES = _words("postgres template0 template1")

# Setting of either database server -> why it is not the operator's.
SERVER_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "it follows from database.allow",
    "bind_address": "it follows from database.allow",
    "port": "clients and MLflow use the server's usual one",
    "ssl": "it follows from database.allow",
    "ssl_cert_file": "the stack's own root issues it",
    "ssl_key_file": "the stack's own root issues it",
    "password_encryption": "it is scram-sha-256",
    "shared_preload_libraries": "a library that does not load keeps the server from starting",
    "character_set_server": "it is utf8mb4",
    "collation_server": "it is utf8mb4_bin",
    "log_bin_trust_function_creators": "it follows from log_bin",
    "init_file": "what it names is run with every right",
    "init_connect": "what it says is run for every client",
} | dict.fromkeys(
    _words("""
    config_file data_directory external_pid_file hba_file ident_file include include_dir include_if_exists
    unix_socket_directories basedir datadir pid_file plugin_dir plugin_load plugin_load_add plugin_maturity
    secure_file_priv socket user
    """),
    "the distribution's packaging sets it",
)

# Environment variable of the MLflow server -> why it is not the operator's.
VARIABLES: Mapping[str, str] = {
    "MLFLOW_WORKERS": "set mlflow.workers",
    "MLFLOW_SERVER_ALLOWED_HOSTS": "set access.names",
    "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "set access.names",
    "MLFLOW_PORT": "set access.port",
    "MLFLOW_ARTIFACTS_DESTINATION": "set store.bucket",
} | dict.fromkeys(
    _words("""
    AWS_ACCESS_KEY_ID AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_SECRET_ACCESS_KEY
    AWS_SESSION_TOKEN HOME INVOCATION_ID LISTEN_FDS LISTEN_PID LOGNAME MAINPID MLFLOW_ARTIFACTS_ONLY
    MLFLOW_BACKEND_STORE_URI MLFLOW_CRYPTO_KEK_PASSPHRASE MLFLOW_DEFAULT_ARTIFACT_ROOT
    MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_AUTH_ADMIN_USERNAME MLFLOW_AUTH_CONFIG_PATH
    MLFLOW_FLASK_SERVER_SECRET_KEY MLFLOW_HOST MLFLOW_REGISTRY_STORE_URI MLFLOW_S3_ENDPOINT_URL
    MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE MLFLOW_SERVE_ARTIFACTS MLFLOW_STATIC_PREFIX MLFLOW_TRACKING_URI
    NOTIFY_SOCKET PATH PGPASSWORD PYTHONHOME PYTHONPATH PYTHONSTARTUP SHELL TMPDIR USER
    """),
    "this tool sets it",
)

# Variables whose name says that their value is a secret.
SECRET_VARIABLE = re.compile(
    r"(^|_)(PASSWORD|PASSWD|SECRET|TOKEN|PASSPHRASE|CREDENTIALS?|API_?KEY|ACCESS_?KEY)($|_)|_KEY$"
)
