"""MLflow's user and databases in MySQL, and who may log in from where."""

from __future__ import annotations

import ipaddress
import urllib.parse

from provisioner.engine.resource import Resource
from provisioner.resources.mysql import PORT
from provisioner.resources.mysql.account import Account
from provisioner.resources.mysql.database import MysqlDatabase, MysqlIdentity
from provisioner.resources.mysql.server import ServerProbe
from provisioner.resources.mysql.servers import MARIADB
from provisioner.secrets import Secret
from provisioner.steps import Context, far_database, own_accounts
from provisioner.steps.database import IDENTITY
from provisioner.steps.database_uri import CA, bracketed
from provisioner.steps.mysqld import server

ADDRESS = "127.0.0.1"
LOCAL = (ADDRESS, "localhost")
"""This host, whether the server resolves names or not."""
_NEEDS = ("step:mysql",)


def databases(context: Context) -> tuple[Resource, ...]:
    """The login, MLflow's database, and where it keeps accounts of its own their database."""
    wanted, accounts = context.settings.database, own_accounts.wanted(context)
    names = (wanted.name, *((own_accounts.database(context),) if accounts else ()))
    found, far = server.installed(context), clients(context)
    fresh, guest = not found.flavour, found.guest
    user = Account(
        id=f"role:{wanted.user}",
        name=wanted.user,
        hosts=(*LOCAL, *far),
        encrypted=far,
        databases=names,
        password=_password(context),
        limit=server.needed(context),
        mariadb=server.flavour(context) == MARIADB,
        server=server.probe(context),
        fresh=fresh,
        guest=guest,
        needs=_NEEDS,
    )

    def one(probe: ServerProbe) -> MysqlDatabase:
        name = probe.database
        return MysqlDatabase(id=f"database:{name}", name=name, server=probe, fresh=fresh, guest=guest, needs=_NEEDS)

    main = server.probe(context)
    resources: tuple[Resource, ...] = (
        user,
        one(main),
        MysqlIdentity(id="file:database.identity", path=IDENTITY, server=main, fresh=fresh, needs=_NEEDS),
    )
    if accounts:
        # Apart from the runs: migrations of both in one have broken each other (mlflow/mlflow 18760, 19299).
        apart = server.probe(context, own_accounts.database(context))
        file = MysqlIdentity(
            id="file:accounts.identity", path=own_accounts.IDENTITY, server=apart, fresh=fresh, needs=_NEEDS
        )
        resources += (one(apart), file)
    return resources


def clients(context: Context) -> tuple[str, ...]:
    """From where the login gets in besides this host, by TLS only, as the server writes it: the hosts with MLflow,
    and `database.allow`. An IPv4 network has its mask: `/24` is not taken by MySQL."""
    found = []
    for text in server.clients(context):
        network = ipaddress.ip_network(text, strict=False)
        if network.num_addresses == 1:
            found.append(str(network.network_address))
        elif network.version == 4:
            found.append(f"{network.network_address}/{network.netmask}" if network.prefixlen else "%")
    return tuple(dict.fromkeys(found))


def uri(context: Context, database: str) -> Secret:
    """The database on this host, or on another one: there the server must show a certificate for that very name.

    SQLAlchemy makes of `ssl_ca` and `ssl_check_hostname` the driver's `ssl`, with which it verifies both; given
    `ssl_verify_identity` beside them, which it passes on as it is, the driver would take that for all there is.
    """
    host = far_database.host(context)
    more = f"&ssl_ca={urllib.parse.quote(CA)}&ssl_check_hostname=true" if host else ""
    user, password, name = (
        urllib.parse.quote(text, safe="")
        for text in (context.settings.database.user, _password(context).reveal(), database)
    )
    at = f"{bracketed(host or ADDRESS)}:{PORT}"
    return Secret(f"mysql+pymysql://{user}:{password}@{at}/{name}?charset=utf8mb4{more}")


def _password(context: Context) -> Secret:
    return context.secrets.get("database.password") or Secret("")
