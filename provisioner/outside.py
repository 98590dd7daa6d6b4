"""Settings of a store and of a database that are not this stack's own: what belongs to them, and what contradicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from provisioner.errors import UsageError

if TYPE_CHECKING:
    from provisioner.settings import Settings

STORE_KEYS: Mapping[str, Any] = {
    "store.endpoint": None,
    "store.region": None,
    "store.addressing": None,
    "store.ca": None,
}
DATABASE_KEYS = ("database.url", "database.ca")


def agree_store(settings: Settings) -> None:
    """UsageError (64) where the keys of an external store do not fit together."""
    store = settings.store
    if store.engine != "external":
        if named := next((key for key, unset in STORE_KEYS.items() if settings.get(key) != unset), None):
            raise UsageError(
                f'{named} belongs to store.engine = "external", this stack has "{store.engine}"',
                next=f"leave {named} out, or add: --set store.engine=external",
            )
        return
    if store.expose:
        raise UsageError(
            'store.expose belongs to a store of this stack, this one has store.engine = "external"',
            why="clients reach that store themselves, at its own address",
            next="leave store.expose out, or: --set store.expose=false",
        )
    if store.data:
        raise UsageError("store.data belongs to a store on this server", next="leave store.data out")
    if store.ca and not (store.endpoint or "").startswith("https://"):
        raise UsageError(
            "store.ca needs a store.endpoint that begins with https://",
            why="without TLS no certificate is looked at, and Amazon's has a public one",
            next="leave store.ca out",
        )
    host = urlsplit(store.endpoint or "").hostname or ""
    if settings.mlflow.egress == "stack" and not (host.replace(".", "").isdigit() or ":" in host):
        raise UsageError(
            'mlflow.egress = "stack" needs a store.endpoint with a literal address',
            why="the kernel lets MLflow reach addresses, not names",
            next="name the address, or leave mlflow.egress out",
        )


def of_url(database: dict[str, Any], origins: Mapping[str, str]) -> None:
    """The names that stand in `database.url`; UsageError where something else was said besides."""
    if database["engine"] != "external" or database["url"] is None:
        return
    from provisioner.database_url import parse

    url = parse(database["url"])
    for key, named in (("name", url.name), ("user", url.user)):
        if not named:
            continue
        if origins[f"database.{key}"] in ("flag", "inventory") and database[key] != named:
            raise UsageError(
                f"database.{key} is {database[key]}, and database.url says {named}",
                next=f"leave database.{key} out",
            )
        database[key] = named


def agree_database(settings: Settings) -> None:
    """UsageError (64) where the keys of an external database do not fit together."""
    database = settings.database
    if database.engine != "external":
        for key in DATABASE_KEYS:
            if settings.get(key) is not None:
                raise UsageError(
                    f'{key} belongs to database.engine = "external", this stack has "{database.engine}"',
                    next=f"leave {key} out, or add: --set database.engine=external",
                )
        return
    if database.url is None:
        raise UsageError(
            'database.engine = "external" needs database.url',
            next="--set database.url=postgresql://HOST:5432/NAME",
        )
    for key in ("allow", "settings"):
        if settings.get(f"database.{key}"):
            raise UsageError(
                f"database.{key} belongs to a database server of this stack",
                why='with database.engine = "external" it is its administrator\'s',
                next=f"leave database.{key} out",
            )
    from provisioner.addresses import is_address
    from provisioner.database_url import parse

    url = parse(database.url)
    if database.ca and url.sslmode in ("disable", "require"):
        raise UsageError(
            f"database.ca and sslmode={url.sslmode} contradict each other",
            why="with this sslmode no certificate is looked at",
            next="leave sslmode out of database.url: it is verify-full then",
        )
    named = [host for host, _ in url.hosts if not is_address(host)]
    if settings.mlflow.egress == "stack" and named:
        raise UsageError(
            f'mlflow.egress = "stack" needs literal addresses in database.url, {named[0]} is none',
            why="the kernel lets MLflow reach addresses, not names",
            next="name the address, or leave mlflow.egress out",
        )
