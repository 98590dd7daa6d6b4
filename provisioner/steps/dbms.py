"""What the other steps ask of the database server, whichever it is.

The step that bears a stack's `database.engine` is its engine: another one is a step more, and no line elsewhere. It
provides `dbms`, or `database` where there is nothing to install.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources.dbms import Server, ServerLook
from provisioner.secrets import Secret
from provisioner.settings import Settings
from provisioner.steps import Context, Step, registry

if TYPE_CHECKING:
    from provisioner.steps.host_certificates import HostCertificate


class Dbms(Step, Protocol):
    """A database engine, beside what every step is."""

    engine: str
    """The value of `database.engine`."""
    port: int
    """On this host, for MLflow and for the checks of the operator's side."""
    data: str
    """The directory in which the distribution keeps the data."""

    def certificate(self, context: Context) -> HostCertificate | None:
        """What it shows other hosts; None where none reaches it, or it shows what this tool did not make."""

    def unit(self, context: Context) -> str:
        """The unit that MLflow waits for at boot."""

    def servers(self, context: Context, database: str = "") -> Sequence[ServerLook[Any]]:
        """Every look that may turn out to be `server`: which one it is may itself have to be seen."""

    def server(self, context: Context, database: str = "") -> ServerLook[Any]:
        """The look at the server and at one of its databases, MLflow's own unless another is named."""

    def state(self, context: Context) -> Server:
        """What the server said; nothing in the guess, on a fresh host and while it is stopped."""

    def awaited(self, context: Context) -> str:
        """The resource from which on a client may wait for the database: it is made beside it."""

    def databases(self, context: Context) -> Sequence[Resource]:
        """MLflow's login, its databases, and the files that say which databases these are."""

    def uri(self, context: Context, database: str) -> Secret:
        """The address of one of them for MLflow, its driver named: SQLAlchemy's own choice differs by version."""

    def accounts_uri(self, context: Context, database: str) -> tuple[Secret, Mapping[str, Secret]]:
        """The address for the file of MLflow's accounts, and variables by which the driver gets what is not in it."""

    def rows(self, context: Context, one: str, other: str, kept: str) -> Probe[tuple[int, int] | None]:
        """How many rows two tables of MLflow's database have whose column `kept` says active, up to ROWS."""

    def buffers(self, settings: Settings) -> int:
        """MiB that the server takes for itself at its start."""


class Installed(Dbms, Protocol):
    """An engine whose server is on a host of the stack."""

    def connector(self, context: Context, socket: Path, database: str) -> Callable[[], Any]:
        """A factory of read-only DB-API connections as MLflow's login, over a forwarded socket."""


def of(settings: Settings) -> Dbms:
    """The engine of these settings."""
    return _engines()[settings.database.engine]


def installed(settings: Settings) -> Installed | None:
    """The engine, where the database is on a host of this stack."""
    return cast("Installed", of(settings)) if settings.mlflow.tracks and of(settings).provides == "dbms" else None


def known(settings: Settings) -> bool:
    """There is a server to install."""
    return installed(settings) is not None


def maker(settings: Settings) -> str:
    """The step that makes MLflow's login and database, or finds them made."""
    return "database" if of(settings).provides == "dbms" else of(settings).name


@cache
def _engines() -> Mapping[str, Dbms]:
    found: dict[str, Any] = {s.name: s for s in registry().values() if hasattr(s, "engine")}
    return {step.engine: step for step in found.values()}
