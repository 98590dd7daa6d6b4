"""What other steps ask of PostgreSQL: the part of the step `postgres` that steps/dbms.py describes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources.postgresql.clusters import VERSIONS, Cluster
from provisioner.resources.postgresql.server import ServerProbe, ServerState
from provisioner.secrets import Secret
from provisioner.settings import Settings
from provisioner.steps import Context
from provisioner.steps import postgres_server as server

if TYPE_CHECKING:
    from provisioner.steps.host_certificates import HostCertificate

_SHARED_BUFFERS = 128
"""MiB, PostgreSQL's default."""


class Answers:
    """Of the step; the page itself is steps/postgres.py."""

    def certificate(self, context: Context) -> HostCertificate | None:
        return server.certificate(context)

    def unit(self, context: Context) -> str:
        return "postgresql.service"

    def servers(self, context: Context, database: str = "") -> tuple[ServerProbe, ...]:
        return tuple(server.probe(context, Cluster(version), database) for version in VERSIONS)

    def server(self, context: Context, database: str = "") -> ServerProbe:
        return server.probe(context, database=database)

    def state(self, context: Context) -> ServerState:
        return server.state(context)

    def awaited(self, context: Context) -> str:
        # Not a new database itself: what makes the tables loads for some seconds and then waits for it.
        # One that is only stopped is looked at first, and for that it must answer.
        stopped = bool(server.seen_clusters(context).found) and not self.state(context).running
        return "step:database" if stopped else "package:postgresql"

    def databases(self, context: Context) -> Sequence[Resource]:
        from provisioner.steps import own_accounts
        from provisioner.steps.postgres_database import databases

        accounts = self.server(context, own_accounts.database(context))
        fresh = not server.seen_clusters(context).found
        return databases(context, self.server(context), accounts, fresh=fresh, guest=server.is_guest(context))

    def uri(self, context: Context, database: str) -> Secret:
        from provisioner.steps import far_database
        from provisioner.steps.database_uri import uri

        return Secret(uri(context.settings, database, _password(context), far_database.host(context)))

    def accounts_uri(self, context: Context, database: str) -> tuple[Secret, Mapping[str, Secret]]:
        from provisioner.steps import far_database
        from provisioner.steps.database_uri import uri

        address = uri(context.settings, database, None, far_database.host(context))
        return Secret(address), {"PGPASSWORD": _password(context)}

    def connector(self, context: Context, socket: Path, database: str) -> Callable[[], Any]:
        from provisioner.resources.postgresql.connect import connector

        user, password = context.settings.database.user, context.secrets["database.password"]
        return connector(socket, database, user, password)

    def rows(self, context: Context, one: str, other: str, kept: str) -> Probe[tuple[int, int] | None]:
        from provisioner.resources.postgresql.rows import RowsProbe

        return RowsProbe(server.chosen(context).version, context.settings.database.name, one, other, kept)

    def buffers(self, settings: Settings) -> int:
        """Of `shared_buffers`; without a unit it counts 8 KiB pages (PostgreSQL's documentation)."""
        text = settings.database.settings.get("shared_buffers", "").strip()
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(kB|MB|GB|TB)?", text)
        if match is None:
            return _SHARED_BUFFERS
        kibibytes = {"kB": 1, "MB": 1024, "GB": 1024**2, "TB": 1024**3}.get(match[2] or "", 8)
        return max(_SHARED_BUFFERS, int(float(match[1]) * kibibytes) // 1024)


def _password(context: Context) -> Secret:
    return context.secrets.get("database.password") or Secret("")
