"""Who reaches PostgreSQL from where: this host itself, and the clients beyond it, these by TLS only."""

from __future__ import annotations

from provisioner.resources.postgresql.hba import Access
from provisioner.steps import Context, own_accounts
from provisioner.steps.host_certificates import FOLDER, HostCertificate, reached_by

CERTIFICATE = f"{FOLDER}/postgresql/server.pem"
"""In a folder of its own, whose group the file gets from there."""
GROUP = "postgres"
_LOOPBACK = ("127.0.0.1/32", "::1/128")


def clients(context: Context) -> tuple[str, ...]:
    """The networks beyond loopback from which the role may log in."""
    return context.settings.database_clients


def access(context: Context, *, encrypted: bool) -> Access:
    """MLflow on the same host, and the clients beyond it; `encrypted`: those by TLS only."""
    database = context.settings.database
    more = (own_accounts.database(context),) if own_accounts.wanted(context) else ()
    far = clients(context)
    local = (*_LOOPBACK, *(each for each in database.allow if each not in far))
    near = local if encrypted else (*local, *far)
    return Access(
        database.name, database.user, tuple(dict.fromkeys(near)), more, tuple(dict.fromkeys(far)) if encrypted else ()
    )


def certificate(context: Context, unit: str) -> HostCertificate | None:
    """What a server of our own shows its clients beyond this host; None without any."""
    names = reached_by(context, "database", clients(context))
    return HostCertificate("postgresql", "PostgreSQL", CERTIFICATE, names, unit, GROUP) if names else None
