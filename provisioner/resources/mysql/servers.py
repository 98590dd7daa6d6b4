"""Which MySQL or MariaDB a host has or would get, read from files; nothing is asked of a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from provisioner.engine.probe import Probe
from provisioner.resources.mysql import DATA
from provisioner.resources.package import OWNED
from provisioner.values import dataclass


@dataclass(frozen=True)
class Flavour:
    """One of the two servers as Debian and Ubuntu package it."""

    name: str
    package: str
    unit: str
    conf: str
    """Our own file, read after those of the package: the server reads a directory in the order of names."""
    make: str
    """The command that makes an empty data directory."""
    binary_log: bool
    """It keeps a binary log unless it is told not to."""


MARIADB = Flavour(
    "MariaDB",
    "mariadb-server",
    "mariadb.service",
    "/etc/mysql/mariadb.conf.d/90-provision.cnf",
    "mariadb-install-db --user=mysql",
    binary_log=False,
)
MYSQL = Flavour(
    "MySQL",
    "mysql-server",
    "mysql.service",
    "/etc/mysql/mysql.conf.d/z90-provision.cnf",
    "mysqld --initialize-insecure --user=mysql",
    binary_log=True,
)
FLAVOURS = (MARIADB, MYSQL)


@dataclass(frozen=True)
class Installed:
    """What is there."""

    flavour: str = ""
    """`MariaDB` or `MySQL`; empty when neither is installed."""
    candidate: str = ""
    """What apt would install; asked only where neither is there."""
    ours: bool = False
    """This tool installed it."""
    initialised: bool = False
    """The data directory holds a server's own tables."""

    @property
    def guest(self) -> bool:
        """It was there before this tool."""
        return bool(self.flavour) and not self.ours


@dataclass(frozen=True)
class InstalledProbe(Probe[Installed]):
    """Looks for a server's program, its data, and else for what apt offers."""

    kind: ClassVar[str] = "mysql-installed"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        return _FRAGMENT

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[Installed]:
        lines = set(output.decode("utf-8", "replace").splitlines())

        def told(kind: str) -> str:
            return next((each.name for each in FLAVOURS if f"{kind}={each.name}" in lines), "")

        found = Installed(told("here"), told("candidate"), "ours" in lines, "initialised" in lines)
        return [found for _ in probes]


# MariaDB has a link `mysqld` as well. The package mysql-server of Debian 9 and older was a name for MariaDB.
_FRAGMENT = rf"""
if [ -x /usr/sbin/mariadbd ]; then echo here=MariaDB
elif [ -x /usr/sbin/mysqld ]; then echo here=MySQL
else
  offered() {{ [ -n "$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \([0-9].*\)/\1/p')" ]; }}
  if offered mysql-server; then echo candidate=MySQL
  elif offered mariadb-server; then echo candidate=MariaDB; fi
fi
if [ -e {OWNED}/mariadb-server ] || [ -e {OWNED}/mysql-server ]; then echo ours; fi
if [ -d {DATA}/mysql ] || [ -f {DATA}/mysql.ibd ]; then echo initialised; fi
"""


def chosen(installed: Installed, distribution: str) -> Flavour:
    """The server that this stack uses; before the host was seen, what its distribution is known to have."""
    name = installed.flavour or installed.candidate or ("MySQL" if distribution == "ubuntu" else "MariaDB")
    return next(each for each in FLAVOURS if each.name == name)
