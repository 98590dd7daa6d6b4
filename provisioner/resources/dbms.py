"""What every database server is to those that only use it: a look at it, and whether a database has tables."""

from __future__ import annotations

from typing import Protocol, Self, TypeVar

from provisioner.engine.probe import Probe

ROWS = 1_000_000
"""Rows are counted up to here, for a reader."""


def counted(output: bytes, probes: int) -> list[tuple[int, int] | None]:
    """Rows of two tables for each of so many probes, from lines `PROBE|ROWS|ROWS`; None where there is none."""
    found: dict[int, tuple[int, int]] = {}
    for line in output.decode("ascii", "replace").splitlines():
        fields = line.split("|")
        if len(fields) == 3 and all(each.isdigit() for each in fields):
            found[int(fields[0])] = int(fields[1]), int(fields[2])
    return [found.get(number) for number in range(probes)]


class Tables(Protocol):
    """One database."""

    @property
    def tables(self) -> int | None:
        """How many it has; None when it could not be looked into."""

    @property
    def revision(self) -> str:
        """alembic_version of MLflow's schema; empty when there is none."""

    @property
    def unused(self) -> bool:
        """It was seen that no table has a row, and a migration that failed leaves a part behind: to be begun anew."""


class Server(Protocol):
    """A server and one of its databases."""

    @property
    def database(self) -> Tables | None:
        """None when it is not there, or the server does not answer."""

    def migrated(self, revision: str) -> Self:
        """As it will be seen once the database has the tables of `revision`."""


T = TypeVar("T", bound=Server)


class ServerLook(Probe[T]):
    """A look at a server, and in it at one database."""

    database: str
    """Its name."""
