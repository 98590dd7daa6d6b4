"""MySQL or MariaDB of the distribution: its package, our own file of settings, its unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from provisioner.assets import render
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources.certificate import HEAD
from provisioner.resources.file import Directory, File, NoFile
from provisioner.resources.mysql import client, conf, servers
from provisioner.resources.mysql.server import DOWN, ServerProbe, ServerState
from provisioner.resources.mysql.servers import FLAVOURS, Flavour, Installed, InstalledProbe
from provisioner.resources.mysql.service import COST, GuestService, ServerService, reread_line
from provisioner.resources.package import Package, PackageProbe
from provisioner.resources.paths import PathProbe
from provisioner.resources.unit import UnitProbe, record_line
from provisioner.steps import Context, host_certificates, keeping, own_accounts, sizes
from provisioner.steps.host_certificates import HostCertificate, leaf

CERTIFICATE = "/etc/mysql/provision/server.pem"
"""Where AppArmor lets Ubuntu's server read; in a folder of its own, whose group the file gets from there."""
GROUP = "mysql"
_NOBODY = "no other host reaches the database any more"


def looks(context: Context) -> Sequence[Probe[Any]]:
    """Of both servers: which one it is need not be known before."""
    found: list[Probe[Any]] = [InstalledProbe(), probe(context)]
    for each in FLAVOURS:
        paths = (each.conf, drop_in_path(each), limits_path(each))
        found += [PackageProbe(each.package), UnitProbe(each.unit), *map(PathProbe, paths)]
    return found


def resources(context: Context) -> Sequence[Resource]:
    """In the order in which one would do it by hand."""
    kind = flavour(context)
    content = settings_file(context).encode()
    shown = certificate(context)
    file = File(
        id="file:mysql-settings",
        path=kind.conf,
        content=content,
        keep=keeping.of_options(content),
        check_in_place=f"{client.FUNCTIONS}\naccepted",
        needs=("package:mysql",),
    )
    health = f"{client.FUNCTIONS}\necho 'SELECT 1' | administer" + (f" && {client.shows(shown.path)}" if shown else "")
    if installed(context).guest:
        service = GuestService(
            id=f"unit:{kind.unit}",
            unit=kind.unit,
            health=health,
            cost=COST,
            wanted=settings(context),
            server=probe(context),
        )
        return [*([file] if settings(context) else []), service]
    inputs = (kind.conf, drop_in_path(kind), limits_path(kind), *((shown.path,) if shown else ()))
    drop_in = File(
        id="file:mysql-service",
        path=inputs[1],
        content=render(
            "mysql/service.conf.j2",
            started=record_line(inputs),
            reloaded=reread_line(inputs[2:]) if shown else "",
            socket=client.SOCKET,
            mariadb=kind == servers.MARIADB,
        ).encode(),
    )
    limits = File(id="file:mysql-limits", path=inputs[2], content=_limits(context).encode())
    package = Package(id="package:mysql", name=kind.package, lane="apt", size=20 * 2**20, needs=(drop_in.id,))
    return [
        # Ready before its first start, they make that start recorded and confined.
        drop_in,
        limits,
        package,
        # Ready before the server is told of it: with a file that is not there it does not start.
        *(_shown(shown, (package.id,)) if shown else ()),
        file,
        ServerService(
            id=f"unit:{kind.unit}",
            unit=kind.unit,
            inputs=inputs,
            reloads=inputs[2:],
            health=health,
            cost=COST,
            certificate=shown.path if shown else "",
            needs=(package.id,),
        ),
        *(() if shown else (NoFile(id="file:tls-mysql", path=CERTIFICATE, ours=HEAD, reason=_NOBODY),)),
    ]


def certificate(context: Context) -> HostCertificate | None:
    """What a server of our own shows its clients beyond this host; None without any, and for one that was here
    before."""
    names = host_certificates.reached_by(context, "database", clients(context))
    if not names or installed(context).guest:
        return None
    return HostCertificate("mysql", flavour(context).name, CERTIFICATE, names, flavour(context).unit, GROUP)


def clients(context: Context) -> tuple[str, ...]:
    """The networks beyond this host from which the login gets in, by TLS."""
    return context.settings.database_clients


def _shown(shown: HostCertificate, needs: tuple[str, ...]) -> tuple[Resource, ...]:
    folder = Directory(
        id="directory:tls-mysql", path=shown.path.rpartition("/")[0], group=shown.group, mode=0o2750, needs=needs
    )
    return folder, leaf(shown, needs)


def installed(context: Context) -> Installed:
    return context.known(InstalledProbe(), Installed())


def flavour(context: Context) -> Flavour:
    return servers.chosen(installed(context), context.facts.distribution)


def probe(context: Context, database: str = "") -> ServerProbe:
    """The look at the server, MLflow's user and one database: MLflow's, or another of its."""
    wanted = context.settings.database
    return ServerProbe(wanted.user, database or wanted.name, tuple(sorted(wanted.settings)))


def state(context: Context) -> ServerState:
    """What the server said; DOWN in the guess, on a fresh host and while it is stopped."""
    return context.known(probe(context), DOWN)


def needed(context: Context) -> int:
    """Connections that MLflow may have at once, on each host that has it."""
    return conf.connections(context.settings.mlflow.workers, own_accounts.wanted(context))


def settings(context: Context) -> dict[str, str]:
    """The settings of our file, by name."""
    database, kind, seen = context.settings.database, flavour(context), state(context)
    extra, hosts = database.settings, context.here.topology.count("mlflow")
    if not installed(context).guest:
        log = seen.log_bin if seen.running else kind.binary_log
        shown = CERTIFICATE if clients(context) else ""
        return conf.owned(certificate=shown, needed=needed(context) * hosts, binary_log=log, extra=extra)
    standing = context.seen.get(PathProbe(kind.conf))
    current = standing.content if standing is not None and isinstance(standing.content, bytes) else None
    return conf.guest(seen, current, needed=needed(context) * hosts, extra=extra)


def settings_file(context: Context) -> str:
    values = {name: conf.text(value) for name, value in settings(context).items()}
    return render("mysql/90-provision.cnf.j2", settings=values, guest=installed(context).guest)


def headline(context: Context) -> str:
    """`MariaDB 10.11.19 from apt, loopback only`."""
    far, found = clients(context), installed(context)
    told = f"{flavour(context).name} {state(context).version}".rstrip()
    reach = f"loopback and {', '.join(far)} by TLS" if far else "loopback only"
    return f"{told} {'was here before' if found.guest else 'from apt'}, {reach}"


def drop_in_path(kind: Flavour) -> str:
    return f"/etc/systemd/system/{kind.unit}.d/50-provision.conf"


def limits_path(kind: Flavour) -> str:
    """A file of its own: what stands in it changes without a restart."""
    return f"/etc/systemd/system/{kind.unit}.d/55-provision-limits.conf"


def _limits(context: Context) -> str:
    own = sizes.of(context)
    allowed = sizes.allowed(clients(context))
    return render("mysql/limits.conf.j2", memory=own.database, tasks=own.database_tasks, allowed=allowed)
