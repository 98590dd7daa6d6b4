"""Every key of the inventory, once: its type, meaning, default, check and example.

The dataclasses below are at the same time the tree of settings that steps read
(`settings.store.engine`) and the reference that `python -m provisioner.reference` prints.
A key that a later version will bring is listed too, so that it is refused with that
reason instead of being taken for a typing mistake or, worse, ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from provisioner import accounts, addresses, checks, database_url, reserved
from provisioner.keys import Key
from provisioner.keys import key as _key
from provisioner.schema_hosts import Host, Roles
from provisioner.values import dataclass

# The only version whose lock file this release ships.
MLFLOW_VERSION = "3.17.2"
DATA_DIRECTORIES = {"minio": "/opt/minio/data", "seaweedfs": "/opt/seaweedfs/data", "external": ""}


@dataclass(frozen=True)
class Store:
    """The S3 object store: artifacts and models."""

    engine: str = _key(
        "minio",
        checks.one_of("minio", "seaweedfs", "external"),
        'Which server stores the artifacts. "external": any S3 that you have; its key comes from [secrets] '
        "(`store.user.key`, `store.user.secret`). Nothing is installed then, and clients reach that store "
        "themselves: MLflow hands out addresses of it.",
        example='engine = "seaweedfs"',
    )
    binary: str | None = _key(
        None,
        checks.local_path,
        "MinIO only: the server's binary (or its tar.gz) on the operator's machine; sent once, checked by "
        "SHA-256. "
        "Relative paths count from the inventory's folder.",
        example='binary = "./minio"',
        operator=True,
    )
    url: str | None = _key(
        None,
        addresses.download_url,
        'MinIO only: where the server fetches the binary or its tar.gz; needs `sha256`. "default" goes '
        "back to the release that this tool pins.",
        example='url = "https://mirror.example.com/minio.tar.gz"',
        shown="the pinned release",
    )
    sha256: str | None = _key(
        None,
        checks.sha256,
        "SHA-256 of the file that `url` (or `binary`) names, 64 hexadecimal digits.",
        example='sha256 = "381e745510a8fb64323d7bb3207f95984b7f4ed826f4fcad318f97683c420c73"',
    )
    data: str = _key(
        "",
        checks.directory,
        "Directory of the data, of its own, on the disk that shall hold the artifacts.",
        example='data = "/srv/minio"',
        shown='"/opt/minio/data", with SeaweedFS "/opt/seaweedfs/data"',
    )
    drives: tuple[str, ...] | None = _key(
        None,
        checks.drives,
        "MinIO on several store hosts only: the directories on each of them that hold the data, each on a disk of its "
        "own, four or more in all. Objects are spread over all drives of all hosts; drives added at the end later make "
        "a further pool (docs/distributed-store.md).",
        kind="list",
        example='drives = ["/mnt/d1"]',
        shown="one directory, `data`",
    )
    bucket: str = _key(
        "mlflow",
        checks.bucket,
        "The bucket, and the first part of the path under which clients see it.",
        example='bucket = "mlflow"',
    )
    endpoint: str | None = _key(
        None,
        addresses.endpoint,
        "External only: the store's URL, which the server and every client must reach under this very name. Without "
        "one: Amazon's.",
        example='endpoint = "https://s3.example.com:9000"',
    )
    region: str | None = _key(
        None,
        checks.region,
        "External only: the region that requests are signed for.",
        example='region = "eu-central-1"',
        shown='"us-east-1"',
    )
    addressing: str | None = _key(
        None,
        checks.one_of("auto", "path", "virtual"),
        'External only: whether the bucket is in the path ("path") or in the host\'s name ("virtual"). "auto": in the '
        "name at Amazon's, else in the path.",
        example='addressing = "virtual"',
        shown='"auto"',
    )
    ca: str | None = _key(
        None,
        checks.local_path,
        "External only: a file on the operator's machine with the private root that the store's certificate leads to, "
        'kept with the secrets; "own": the one that the stack has.',
        example='ca = "store-ca.pem"',
        recorded=lambda value: "own" if value else value,
    )
    expose: bool = _key(
        False,
        checks.boolean,
        f"Open port {reserved.EXPOSED} too: the bucket by S3, for who has a key of it. Not with an external store.",
        kind="boolean",
        example="expose = true",
    )


@dataclass(frozen=True)
class Database:
    """The database: experiments, runs, metrics, the model registry."""

    engine: str = _key(
        "postgresql",
        checks.one_of("postgresql", "mysql", "external"),
        'Which database server. "mysql": MySQL where the distribution has it, MariaDB otherwise. "external": a '
        "PostgreSQL that you have (docs/external-database.md); nothing is installed for it.",
        example='engine = "postgresql"',
    )
    name: str = _key("mlflow", checks.database_name, "Name of the database.", example='name = "mlflow"')
    user: str = _key("mlflow", checks.role_name, "Role that owns the database.", example='user = "mlflow"')
    allow: tuple[str, ...] = _key(
        (),
        checks.list_of(addresses.network),
        "Networks that may reach the database with the role's password, besides the server itself, by TLS only "
        "(docs/tls.md). Without one it listens on loopback only.",
        kind="list",
        example='allow = ["10.151.0.0/24"]',
    )
    settings: Mapping[str, str] = _key(
        {},
        checks.table_of(checks.server_setting),
        "Further settings of the database server, written to a file of our own.",
        kind="table",
        example='settings = { shared_buffers = "1GB", log_min_duration_statement = "500ms" }',
    )
    url: str | None = _key(
        None,
        database_url.normal,
        "External only: where the database is, several addresses separated by commas; no password in it, that comes "
        "from [secrets]. Without sslmode the server's certificate is checked (verify-full).",
        private=True,
        example='url = "postgresql://db1.example.com:5432,db2.example.com:5432/mlflow?target_session_attrs=read-write"',
    )
    ca: str | None = _key(
        None,
        checks.local_path,
        "External only: a file on the operator's machine with the private root that the server's certificate leads "
        'to, kept with the secrets; "own": the one that the stack has. Without one: the public roots.',
        example='ca = "database-ca.pem"',
        recorded=lambda value: "own" if value else value,
    )


@dataclass(frozen=True)
class Mlflow:
    """The tracking server."""

    version: str = _key(
        MLFLOW_VERSION,
        checks.version,
        "MLflow's version; its whole environment is locked.",
        example=f'version = "{MLFLOW_VERSION}"',
        later=checks.only((MLFLOW_VERSION,), f"this release ships the locked environment of {MLFLOW_VERSION} only"),
    )
    workers: int = _key(
        2,
        checks.integer(1, 64),
        "Server processes; each needs about 260 MB of memory and up to 30 connections.",
        kind="integer",
        example="workers = 4",
    )
    memory: str = _key(
        "3G",
        checks.memory,
        "Memory that the service may use before the kernel stops it (systemd's MemoryMax); less where the "
        "server has less to give.",
        example='memory = "4G"',
    )
    egress: str = _key(
        "any",
        checks.one_of("any", "stack"),
        'What the server may reach. "stack": only the database, the store and the address clients use; webhooks, '
        "models and images from elsewhere then fail. With a DNS name as that address the server must resolve it "
        "by itself (systemd-resolved, /etc/hosts).",
        example='egress = "stack"',
    )
    serve: str = _key(
        "all",
        checks.one_of("all", "tracking", "artifacts"),
        'Which half of MLflow the server is. "all": tracking, and artifacts too unless artifacts.mode is "direct". '
        '"tracking": no artifacts, so only with artifacts.mode = "direct". "artifacts": it only passes artifacts on, '
        "for tracking servers elsewhere, and has no database (docs/halves.md).",
        example='serve = "artifacts"',
    )
    env: Mapping[str, str] = _key(
        {},
        checks.table_of(checks.variable),
        "Further environment variables of the server; no secrets, and none that this tool sets itself.",
        kind="table",
        example='env = { MLFLOW_SQLALCHEMYSTORE_POOL_SIZE = "5" }',
    )

    @property
    def tracks(self) -> bool:
        """Whether it has experiments and runs, and so a database."""
        return self.serve != "artifacts"


@dataclass(frozen=True)
class Access:
    """How clients reach it: one address for MLflow and the bucket."""

    port: int | None = _key(
        None,
        checks.door_port,
        "The one open port besides SSH.",
        kind="integer",
        example="port = 8080",
        shown="5000, with TLS 443",
    )
    names: tuple[str, ...] = _key(
        (),
        addresses.door_names,
        "Names and addresses clients may use; the first one is put into artifact URLs, so every client "
        "must resolve it.",
        kind="list",
        example='names = ["mlflow.example.com", "10.151.0.1"]',
        shown="the address given with --host",
    )
    auth: str = _key(
        "password",
        checks.one_of("password", "mlflow", "none"),
        '"password": accounts with passwords, which nginx asks for. "mlflow": MLflow asks, with accounts and '
        'permissions of its own. "none": everyone who reaches the port (as `--no-auth`).',
        example='auth = "none"',
    )
    users: tuple[str, ...] = _key(
        (),
        checks.list_of(accounts.declared),
        "People's accounts besides `mlflow`, each with a generated password (`provision secrets show account.NAME`). "
        "A name that is taken out stays an account: `provision user remove NAME` ends it.",
        kind="list",
        example='users = ["anna", "ben"]',
    )
    tls: str | Mapping[str, str] = _key(
        "off",
        checks.tls,
        '"off". "internal": certificates of a root that this stack has for itself, renewed by the server. '
        "{ cert, key }: files with your own certificate and its chain (`ca`: the private root that clients need) on "
        'the operator\'s machine, kept with the secrets; "own": the one that the stack has of them.',
        example='tls = "internal"',
        recorded=checks.tls_recorded,
    )
    public_http: bool = _key(
        False,
        checks.boolean,
        "Allow a public address without TLS (as `--allow-public-http`).",
        kind="boolean",
        example="public_http = true",
    )

    @property
    def encryption(self) -> str:
        """`off`, `internal`, or `own` with a certificate that was brought along."""
        return checks.tls_recorded(self.tls)

    @property
    def scheme(self) -> str:
        """`https` with any kind of TLS."""
        return "http" if self.encryption == "off" else "https"

    @property
    def door_port(self) -> int:
        """The port that clients use, whether it was chosen or follows from the scheme."""
        return self.port or (5000 if self.scheme == "http" else 443)


@dataclass(frozen=True)
class Artifacts:
    """How artifacts travel, and where in the bucket they are."""

    mode: str = _key(
        "proxied",
        checks.one_of("proxied", "direct"),
        '"proxied": clients go through MLflow and need no key of the store. "direct": they read and write the bucket '
        "themselves, with a key that opens this bucket only; `provision env` prints it.",
        example='mode = "direct"',
    )
    prefix: str | None = _key(
        None,
        checks.prefix,
        "Folder of the bucket under which all artifacts are: `artifacts` for `s3://mlflow/artifacts`.",
        example='prefix = "artifacts"',
    )

    def place(self, bucket: str) -> str:
        """The address below which artifacts are, `s3://mlflow/artifacts`, without a slash at its end."""
        return f"s3://{bucket}/{self.prefix}" if self.prefix else f"s3://{bucket}"


SETTINGS: Mapping[str, type] = {
    "store": Store,
    "database": Database,
    "mlflow": Mlflow,
    "access": Access,
    "artifacts": Artifacts,
}
SECTIONS: Mapping[str, type] = {"roles": Roles, "hosts": Host, **SETTINGS}

ROOTS = ("store.ca", "database.ca")
"""Settings that name a file of the operator's machine, or "own": what is in it is kept with the secrets."""

# Known to the design, not to this release: key or table -> what it will be.
LATER: Mapping[str, str] = {
    "mlflow.python": "another Python than the server's",
    "backup": "backups",
    "monitoring": "monitoring",
}


def keys(section: type) -> dict[str, Key]:
    """Name -> Key of one table, in the order of the reference."""
    return {each.name: each.metadata["key"] for each in dataclasses.fields(section)}


def known() -> dict[str, Key]:
    """`store.engine` -> Key for every setting (not [roles] and [hosts])."""
    return {f"{table}.{name}": key for table, section in SETTINGS.items() for name, key in keys(section).items()}


def default(dotted: str) -> Any:
    """The default of a setting; "" for `store.data`, which follows the engine."""
    table, name = dotted.split(".")
    return getattr(SETTINGS[table](), name)
