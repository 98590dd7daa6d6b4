"""The stacks whose files are kept, each made in memory on a server that is as its entry says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from model import FACTS, ModelHost, install, request, vault

from provisioner import vault as vaults
from provisioner.commands.view import View, look
from provisioner.resources.facts import Facts
from provisioner.resources.mysql import server as mysql
from provisioner.resources.mysql.servers import Installed, InstalledProbe
from provisioner.resources.package import PackageProbe, PackageState
from provisioner.resources.postgresql.clusters import Cluster, Clusters, ClustersProbe
from provisioner.resources.postgresql.server import FileSetting, ServerProbe, ServerState, Setting
from provisioner.resources.unit import UnitProbe, UnitState

UBUNTU = replace(
    FACTS,
    distribution="ubuntu",
    release="24.04",
    pretty="Ubuntu 24.04 LTS",
    python=(3, 12),
    python_path="/usr/bin/python3.12",
)
GUEST = Cluster("16", running=True)
BUILD = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00RELEASE.2025-10-15T17-29-55Z MINIO_ROOT_USER" + bytes(40)


@dataclass(frozen=True)
class Example:
    """A stack by its settings; `before` puts on the host what was there before the first run."""

    flags: Mapping[str, Any]
    facts: Facts = FACTS
    before: Callable[[ModelHost], None] = lambda host: None
    local: Mapping[str, bytes] = field(default_factory=dict)
    """Setting -> content of a file on the operator's machine that it names."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Secrets that only this one has, by name with `_` for `.`."""


def guests(host: ModelHost) -> None:
    """PostgreSQL 16 and nginx with lives of their own."""
    host.put(ClustersProbe(), Clusters((GUEST,), installed=True))
    host.put(PackageProbe("postgresql"), PackageState(True, "16+257"))
    host.put(PackageProbe("postgresql-16"), PackageState(True, "16.4"))
    host.put(PackageProbe("nginx"), PackageState(True, "1.24.0"))
    host.put(UnitProbe("nginx.service"), UnitState("loaded", "active", "running", "enabled", invocation="a"))
    conf = f"{GUEST.directory}/postgresql.conf"
    host.write(conf, b"")
    host.write(
        GUEST.hba,
        b"local   all  postgres  peer\n# the shop's own line\nhost    shop shop 10.0.0.0/8 scram-sha-256\n"
        b"host    all  all  127.0.0.1/32  scram-sha-256\n",
        0o640,
    )
    standing = {"listen_addresses": "localhost", "max_connections": "40"}
    host.put(
        ServerProbe("16", "mlflow", "mlflow"),
        ServerState(
            running=True,
            system="7000000000000000001",
            port=5432,
            version="16.4",
            settings={name: Setting(value, True, conf) for name, value in standing.items()},
            restart=frozenset(standing),
            files=tuple(FileSetting(conf, 60 + n, *line) for n, line in enumerate(standing.items())),
        ),
    )
    host.write(
        "/etc/nginx/nginx.conf", b"user nginx;\nhttp {\n  include /etc/nginx/conf.d/*.conf;\n  # the shop\n}\n", 0o644
    )


def mysql_before(host: ModelHost) -> None:
    """MySQL 8 with a life of its own, and the binary log that it keeps by default."""
    host.put(InstalledProbe(), Installed("MySQL", initialised=True))
    host.put(PackageProbe("mysql-server"), PackageState(True, "8.0.36"))
    host.put(UnitProbe("mysql.service"), UnitState("loaded", "active", "running", "enabled", invocation="a"))
    variables = {"max_connections": "60", "log_bin_trust_function_creators": "OFF", "bind_address": "127.0.0.1"}
    host.put(
        mysql.ServerProbe("mlflow", "mlflow"),
        mysql.ServerState(running=True, version="8.0.36", port=3306, log_bin=True, variables=variables),
    )


EXAMPLES = {
    "seaweedfs": Example({"store.engine": "seaweedfs"}),
    "minio": Example({}, local={"store.binary": BUILD}),
    "direct": Example(
        {"store.engine": "seaweedfs", "artifacts.mode": "direct", "artifacts.prefix": "artifacts"},
        secrets={"store_client_key": "fakeclientkey", "store_client_secret": "fake" * 10},
    ),
    "exposed": Example(
        {
            "store.expose": True,
            "access.tls": "internal",
            "access.names": ("mlflow.example.com", "192.0.2.10", "2001:db8::1"),
        },
        local={"store.binary": BUILD},
        secrets={
            "store_client_key": "fakeclientkey",
            "store_client_secret": "fake" * 10,
            "tls_root": f"{'fake' * 12}:{'fake' * 4}:",
        },
    ),
    "mysql": Example(
        {
            "store.engine": "seaweedfs",
            "database.engine": "mysql",
            "database.name": "ml_runs",
            "database.settings": {"innodb_buffer_pool_size": "1G", "ft_boolean_syntax": '+ -#<"x"'},
            "access.auth": "mlflow",
        }
    ),
    "mysql-guest": Example(
        {"store.engine": "seaweedfs", "database.engine": "mysql"}, facts=UBUNTU, before=mysql_before
    ),
    "external": Example(
        {
            "store.engine": "external",
            "store.endpoint": "https://s3.example.com:9000",
            "store.region": "eu-1",
            "store.bucket": "theirs",
            "artifacts.prefix": "team",
        },
    ),
    "artifacts-only": Example({"store.engine": "seaweedfs", "mlflow.serve": "artifacts"}),
    "no-auth": Example({"store.engine": "seaweedfs", "access.auth": "none"}),
    "custom": Example(
        {
            "store.bucket": "ml-artifacts",
            "store.data": "/srv/disk/store",
            "database.name": "tracking",
            "database.user": "tracker",
            "database.allow": ("10.151.0.0/24",),
            "database.settings": {"log_min_duration_statement": "500"},
            "mlflow.workers": 6,
            "mlflow.memory": "5G",
            "mlflow.env": {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "9", "TEAM": 'a "quoted" name'},
            "access.port": 8080,
            "access.names": ("mlflow.example.com", "192.0.2.10"),
        },
        facts=replace(UBUNTU, addresses=(*UBUNTU.addresses, "10.151.0.7", "172.17.0.1")),
        secrets={"tls_root": f"{'fake' * 12}:{'fake' * 4}:"},
    ),
    "tls": Example(
        {
            "store.engine": "seaweedfs",
            "access.tls": "internal",
            "access.names": ("mlflow.example.com", "192.0.2.10", "2001:db8::1"),
        },
        secrets={"tls_root": f"{'fake' * 12}:{'fake' * 4}:"},
    ),
    "guests": Example({"store.engine": "seaweedfs", "mlflow.workers": 4}, facts=UBUNTU, before=guests),
}


def made(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> tuple[ModelHost, View, View]:
    """The host once its stack is as wanted, what its first look saw and planned, and what the last did."""
    example = EXAMPLES[name]
    flags = dict(example.flags)
    for setting, content in example.local.items():
        (folder / setting).write_bytes(content)
        flags[setting] = str(folder / setting)
    host = ModelHost(facts=example.facts)
    example.before(host)
    install(monkeypatch, host)
    vaults.write_controller(vault(**example.secrets))
    first = look(host, request(flags))  # type: ignore[arg-type]
    host.make(first.plan.changes)
    last = look(host, request(flags))  # type: ignore[arg-type]
    return host, first, last


__all__ = ["EXAMPLES", "made"]
