"""What would go wrong with MySQL on a host, before anything is changed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from provisioner.engine.check import Check
from provisioner.resources.mysql import DATA, PORT, conf
from provisioner.resources.mysql.client import SOCKET
from provisioner.resources.mysql.server import COLLATION
from provisioner.resources.paths import PathProbe
from provisioner.resources.unit import UnitProbe
from provisioner.steps import Context
from provisioner.steps.mysqld import server

_NEEDED = 2**30
"""Bytes for the packages (about 300 MB), an empty server (about 150 MB) and room for its log."""
_NAMES = frozenset({"information_schema", "mysql", "performance_schema", "sys"})
_USERS = frozenset({"root", "mysql", "mariadb.sys", "debian_sys_maint"})
_USER_LENGTH = 32


def checks(context: Context) -> Iterable[Check]:
    """Every finding; `ok` ones too, they are counted."""
    yield _port(context)
    yield _disk(context)
    yield from _data(context)
    yield from _names(context)
    yield from _clients(context)
    yield from _administrator(context)
    yield from _collation(context)
    yield from _overridden(context)
    found = server.installed(context)
    if found.guest:
        told = f"{found.flavour} {server.state(context).version} was here before: it keeps its settings, ours are added"
        yield Check("mysql-guest", "MySQL", "ok", detail=told)


def _port(context: Context) -> Check:
    title, found, state = f"port {PORT}", server.installed(context), server.state(context)
    holder = next((each for each in context.facts.listeners if each.port == PORT), None)
    process = (holder.process or "a process that is not told") if holder else ""
    if state.running and state.port != PORT:
        return Check(
            "mysql-port",
            title,
            "fail",
            detail=f"{found.flavour} is on port {state.port}, MLflow is set up for {PORT}",
            fix=f"set port = {PORT} in its configuration, and restart it",
        )
    if holder is not None and not (process.startswith(("mariadbd", "mysqld")) and found.flavour):
        return Check(
            "mysql-port",
            title,
            "fail",
            detail=f"in use by {process}",
            fix=f"stop it, or move it to another port than {PORT}",
        )
    return Check("mysql-port", title, "ok", detail="free" if holder is None else found.flavour)


def _disk(context: Context) -> Check:
    free = context.facts.free.get("/var/lib")
    needed = _NEEDED // 4 if server.installed(context).flavour else _NEEDED
    if free is None or free >= needed:
        return Check("mysql-disk", "disk", "ok", detail="" if free is None else f"{free / 2**30:.1f} GB in /var/lib")
    return Check(
        "mysql-disk",
        "disk",
        "fail",
        detail=f"/var/lib has {free / 2**20:.0f} MB free, {needed // 2**20} MB are needed",
        fix=f"free {-((free - needed) // 2**20)} MB, or mount a larger disk at {DATA}",
    )


def _data(context: Context) -> Iterable[Check]:
    """The package makes it, and starting empty is not this tool's decision."""
    found = server.installed(context)
    if found.flavour and not found.initialised:
        yield Check(
            "mysql-data",
            "MySQL's data",
            "fail",
            detail=f"the data of {found.flavour} is gone: {DATA} holds no server's tables, and the server is "
            "still installed",
            fix=f"mount or restore {DATA}, or give it up: {server.flavour(context).make}",
        )


def _names(context: Context) -> Iterable[Check]:
    """What PostgreSQL would take and MySQL does not."""
    database = context.settings.database
    if database.name in _NAMES:
        yield _named("name", f"{database.name} is a database of MySQL's own")
    if database.user in _USERS:
        yield _named("user", f"{database.user} is a user of MySQL's own")
    if len(database.user) > _USER_LENGTH:
        yield _named("user", f"{database.user} has more than the {_USER_LENGTH} characters of a user's name")


def _clients(context: Context) -> Iterable[Check]:
    """What cannot be said of those beyond this host."""
    found = server.clients(context)
    wide = [each for each in map(ipaddress.ip_network, found) if each.version == 6 and each.num_addresses > 1]
    if wide:
        yield Check(
            "mysql-networks",
            "database.allow",
            "fail",
            detail=f"MySQL knows no network of IPv6, only single addresses: {wide[0]}",
            fix="name the addresses, or a network of IPv4",
        )
    if found and server.installed(context).guest:
        yield Check(
            "mysql-clients",
            "MySQL",
            "fail",
            detail=f"{server.flavour(context).name} was here before and shows a certificate of its own, or none: "
            f"{', '.join(found)} could not tell which server answers",
            fix="a host without one for the database; or MLflow on this host, and no database.allow",
        )


def _named(key: str, detail: str) -> Check:
    return Check("mysql-names", f"database.{key}", "fail", detail=detail, fix=f"--set database.{key}=mlflow")


def _administrator(context: Context) -> Iterable[Check]:
    state, found = server.state(context), server.installed(context)
    unit = context.seen.get(UnitProbe(server.flavour(context).unit))
    if not found.flavour or state.running or unit is None or unit.active != "active":
        return
    said = (state.error.splitlines() or ["no answer"])[0][:200]
    how = "VIA unix_socket" if found.flavour == "MariaDB" else "WITH auth_socket"
    yield Check(
        "mysql-admin",
        "MySQL",
        "fail",
        detail=f"root cannot log in on {SOCKET} without a password: {said}",
        fix=f"as its administrator: ALTER USER root@localhost IDENTIFIED {how}",
    )


def _collation(context: Context) -> Iterable[Check]:
    database, name = server.state(context).database, context.settings.database.name
    if database is not None and database.columns and database.used:
        yield Check(
            "database-collation",
            "database",
            "fail",
            detail=f"database {name} has {database.columns} columns of another collation than {COLLATION}: "
            "`Case` and `case` are the same there, or letters are lost",
            fix="use another: --set database.name=NAME, or convert its tables with MLflow stopped",
        )


def _overridden(context: Context) -> Iterable[Check]:
    """A running server that was told something else, or reads it in a file after ours."""
    state, found = server.state(context), server.installed(context)
    if not state.running or found.guest:
        return
    standing = context.seen.get(PathProbe(server.flavour(context).conf))
    read = conf.parsed(standing.content) if standing is not None and isinstance(standing.content, bytes) else {}
    for name, value in server.settings(context).items():
        # What this run is about to write, the server cannot have read.
        running = state.variables.get(name) if read.get(name, value) == value else None
        if running is not None and conf.differs(value, running) and name not in context.settings.database.settings:
            yield Check(
                "mysql-override",
                "MySQL",
                "warn",
                detail=f"{name} is {running[:60]} in the running server, this stack's file says {value[:60]}",
                fix=f"take it out of the files in /etc/mysql, then: systemctl restart {server.flavour(context).unit}",
            )
