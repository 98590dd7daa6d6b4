"""What a look at an external database means for a reader: one finding, and what helps."""

from __future__ import annotations

from collections.abc import Iterable

from provisioner.database_url import DatabaseUrl
from provisioner.engine.check import Check
from provisioner.resources.external_look import Told
from provisioner.resources.remote_database import IDENTITY
from provisioner.settings import Settings

_ID, _TITLE = "external-database", "external database"
_CA = "--set database.ca=FILE with the root that issued it"
_WORDS = {
    "name": ("its name does not resolve on this server", "add it to DNS or to /etc/hosts, or correct database.url"),
    "port": ("no connection to it from this server", "open the way in the firewall, or correct database.url"),
    "silent": ("no answer to this server", "open the way in the firewall, or correct database.url"),
    "foreign": ("what answers there is no PostgreSQL", "check address and port of database.url"),
    "plain": ("it speaks no TLS", "let its administrator turn on ssl, or, knowing it: sslmode=disable in database.url"),
    "tls": ("TLS with it fails", "let its administrator look at its certificate and its TLS versions"),
    "certificate": ("this server does not trust its certificate", _CA),
    "another": (
        "its certificate is not for this name",
        "use a name of the certificate in database.url, or, knowing it: sslmode=verify-ca",
    ),
    "expired": (
        "the time of its certificate, or of the root that issued it, is over",
        "let its administrator renew it; a renewed root: --set database.ca=FILE",
    ),
    "roots": ("the roots that it is checked against cannot be read", f"apt-get install ca-certificates, or {_CA}"),
    "clear": (
        "it wants the password in clear, and nothing shows which server it is",
        "leave sslmode out of database.url",
    ),
    "method": ("it asks for a login that this version does not have", "let its administrator set scram-sha-256"),
    "impostor": (
        "it lets {user} in without a password, or does not know it itself: it may be another server",
        "check database.url, or let its administrator set scram-sha-256 in pg_hba.conf",
    ),
    "standby": (
        "it can only be read: a standby, or default_transaction_read_only",
        "let its administrator promote one, or name the writable server too in database.url, with "
        "target_session_attrs=read-write",
    ),
    "admin": ("it refuses the administrator's login", "correct database.admin.user and database.admin.password"),
    "old": ("it is too old", "PostgreSQL 12 or newer"),
    "client": (
        "libpq on this machine does not begin",
        "unset PGSERVICE; a libpq of version 16 or newer: psycopg2-binary",
    ),
    "answer": ("it says no", "look at the database's own log"),
    "login": (
        "the role {user} is not there, or has another password",
        "correct the secret database.password, or as its administrator:\n"
        "  CREATE ROLE {user} LOGIN PASSWORD '…';   (ALTER ROLE, where it is there)\n"
        "  CREATE DATABASE {name} OWNER {user};   (where it is not)\n"
        "or give an administrator's login: database.admin.user, database.admin.password in [secrets]",
    ),
    "entry": (
        "it lets {user} not in from this server",
        "its administrator adds to pg_hba.conf:  hostssl {name} {user} ADDRESS/32 scram-sha-256   "
        "(ADDRESS: this server's)",
    ),
    "denied": (
        "{user} may not make tables in {name} ({said})",
        "as its administrator:\n  ALTER DATABASE {name} OWNER TO {user};\n"
        "in the database {name}:\n  GRANT USAGE, CREATE ON SCHEMA public TO {user};",
    ),
    "superuser": (
        "{user} is a superuser: whoever gets into MLflow would own the whole server",
        "as its administrator:\n  ALTER ROLE {user} NOSUPERUSER;   or another role: database.user",
    ),
    "encoding": (
        "{name} is in {said}, MLflow's texts need UTF8",
        "as its administrator:  CREATE DATABASE another OWNER {user} TEMPLATE template0 ENCODING 'UTF8';",
    ),
    "taken": (
        "the role {user} is there and has another password",
        "correct the secret database.password, or as its administrator:  ALTER ROLE {user} PASSWORD '…';   "
        "or another name: database.user",
    ),
    "owned": (
        "the database {name} is there, of {said}, and the role {user} is not",
        "as its administrator:\n  CREATE ROLE {user} LOGIN PASSWORD '…';\n"
        "  ALTER DATABASE {name} OWNER TO {user};\nand its password as database.password in [secrets]",
    ),
    "rights": (
        "the administrator that was given may not make the {said}",
        "ALTER ROLE it CREATEROLE CREATEDB, and where {user} is there already GRANT {user} TO it; "
        "or make them there and give database.password alone",
    ),
}
"""By the word of the look: what is in the way, and what helps. {name}: the database, {user}: the role, {said}: the
server's own words."""


def findings(told: Told, url: DatabaseUrl, settings: Settings, kept: bytes | None) -> Iterable[Check]:
    """`kept`: what the host's file says of the database that holds this stack's runs; None where there is none."""
    where, name, user = url.shown, settings.database.name, settings.database.user
    if told.word in ("ok", "missing"):
        if told.word == "missing" and not told.missing:
            yield _fail(
                where,
                told,
                f"it has no database {name}",
                f"as its administrator:  CREATE DATABASE {name} OWNER {user};",
            )
            return
        other = kept is not None and told.database is not None and IDENTITY.format(told.database.which).encode() != kept
        if kept is not None and (told.word == "missing" or (told.database and told.database.which and other)):
            yield Check(
                _ID,
                _TITLE,
                "fail",
                detail=f"{where}: {name} is there another database than the one that holds this stack's runs",
                fix="correct database.url; when the runs were moved there (docs/switching.md), on the server:\n"
                f"  rm /etc/provision/had/database.{name}",
            )
            return
        yield from _warnings(told, url, user)
        done = f"the role {user} makes tables in {name}" if told.word == "ok" else "made: " + " and ".join(told.missing)
        yield Check(_ID, _TITLE, "ok", detail=f"{done} at {where}" + (f", {told.version}" if told.version else ""))
        return
    what, fix = _WORDS.get(told.word, ("{word}", "look at the database's own log"))
    said = {"name": name, "user": user, "said": told.said, "word": told.word}
    yield _fail(where, told, what.format(**said), fix.format(**said))


def _fail(where: str, told: Told, what: str, fix: str) -> Check:
    said = f" ({told.said})" if told.said and told.said not in what else ""
    return Check(_ID, _TITLE, "fail", detail=f"{where}: {what}{said}", fix=fix)


def _warnings(told: Told, url: DatabaseUrl, user: str) -> Iterable[Check]:
    if url.sslmode == "disable" and not url.loopback:
        detail = f"sslmode=disable: everybody on the way to {url.shown} reads runs and changes them"
        yield Check(f"{_ID}-tls", _TITLE, "warn", detail=detail, fix="leave sslmode out of database.url")
    elif url.sslmode in ("require", "verify-ca"):
        detail = f"sslmode={url.sslmode}: whoever stands on the way to {url.shown} may pass for the database"
        yield Check(f"{_ID}-tls", _TITLE, "warn", detail=detail, fix="sslmode=verify-full, with database.ca")
    if told.away:
        detail = f"does not answer, another address does: {', '.join(told.away)}"
        yield Check(f"{_ID}-away", _TITLE, "warn", detail=detail, fix="look at that server, or correct database.url")
    if told.makes:
        detail = f"the role {user} may make roles or databases, which MLflow never does"
        fix = f"as its administrator:  ALTER ROLE {user} NOCREATEROLE NOCREATEDB;"
        yield Check(f"{_ID}-rights", _TITLE, "warn", detail=detail, fix=fix)
