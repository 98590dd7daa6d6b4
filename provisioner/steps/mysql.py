"""MySQL where the distribution has it, MariaDB otherwise. The pages are in mysqld: a stack with another
database must not pay for its imports."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.secrets import Secret
from provisioner.settings import Settings
from provisioner.steps import Context
from provisioner.values import dataclass

if TYPE_CHECKING:
    from provisioner.resources.mysql.server import ServerProbe, ServerState
    from provisioner.steps.host_certificates import HostCertificate

_BUFFER_POOL = 128
"""MiB, InnoDB's default."""


@dataclass(frozen=True)
class Mysql:
    """The distribution's MySQL or MariaDB."""

    name: str = "mysql"
    summary: str = "the MySQL or MariaDB server of the distribution"
    needs: tuple[str, ...] = ("certificates",)
    provides: str = "dbms"
    roles: tuple[str, ...] = ("database",)
    engine: str = "mysql"
    port: int = 3306  # as in resources/mysql, not imported for it
    data: str = "/var/lib/mysql"

    def applies(self, settings: Settings) -> bool:
        return settings.mlflow.tracks and settings.database.engine == self.engine

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        from provisioner.steps.mysqld import server

        return server.looks(context)

    def resources(self, context: Context) -> Sequence[Resource]:
        from provisioner.steps.mysqld import server

        return [resource.of(self.name) for resource in server.resources(context)]

    def preflight(self, context: Context) -> Iterable[Check]:
        from provisioner.steps.mysqld.checks import checks

        return checks(context)

    def version(self, context: Context) -> str:
        return self.state(context).version

    def headline(self, context: Context) -> str:
        from provisioner.steps.mysqld import server

        return server.headline(context)

    # What other steps ask (steps/dbms.py).

    def certificate(self, context: Context) -> HostCertificate | None:
        from provisioner.steps.mysqld import server

        return server.certificate(context)

    def unit(self, context: Context) -> str:
        from provisioner.steps.mysqld import server

        return server.flavour(context).unit

    def servers(self, context: Context, database: str = "") -> tuple[ServerProbe, ...]:
        return (self.server(context, database),)

    def server(self, context: Context, database: str = "") -> ServerProbe:
        from provisioner.steps.mysqld import server

        return server.probe(context, database)

    def state(self, context: Context) -> ServerState:
        from provisioner.steps.mysqld import server

        return server.state(context)

    def awaited(self, context: Context) -> str:
        from provisioner.steps.mysqld import server

        there = server.installed(context).flavour
        return "step:database" if there and not server.state(context).running else "package:mysql"

    def databases(self, context: Context) -> Sequence[Resource]:
        from provisioner.steps.mysqld.database import databases

        return databases(context)

    def uri(self, context: Context, database: str) -> Secret:
        from provisioner.steps.mysqld import database as own

        return own.uri(context, database)

    def accounts_uri(self, context: Context, database: str) -> tuple[Secret, Mapping[str, Secret]]:
        # The driver takes a password from nowhere but the address or a file of its own.
        return self.uri(context, database), {}

    def connector(self, context: Context, socket: Path, database: str) -> Callable[[], Any]:
        from provisioner.resources.mysql.connect import connector

        user, password = context.settings.database.user, context.secrets["database.password"]
        return connector(socket, database, user, password)

    def rows(self, context: Context, one: str, other: str, kept: str) -> Probe[tuple[int, int] | None]:
        from provisioner.resources.mysql.rows import RowsProbe

        return RowsProbe(context.settings.database.name, one, other, kept)

    def buffers(self, settings: Settings) -> int:
        """Of `innodb_buffer_pool_size`, in bytes or with a suffix."""
        text = settings.database.settings.get("innodb_buffer_pool_size", "").strip()
        match = re.fullmatch(r"(\d{1,15})([kmgKMG]?)", text)
        if match is None:
            return _BUFFER_POOL
        kibi: int = 1024 ** " kmg".index(match[2].lower() or " ")
        return max(_BUFFER_POOL, int(match[1]) * kibi // 2**20)


STEP = Mysql()
