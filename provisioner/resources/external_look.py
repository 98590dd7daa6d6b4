"""What a PostgreSQL of somebody else's is for MLflow, and making role and database there. `look` changes nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Self

from provisioner.engine.quoting import printable
from provisioner.resources.external_way import Login, Talk, Trouble, Way
from provisioner.resources.postgresql.scram import verifier
from provisioner.resources.remote_database import RemoteTables
from provisioner.values import dataclass

SECONDS_TO_MAKE = 120.0
"""For one statement that changes something: a database is a copy of files, and a service may have its own ways."""
LEAST = 120000
"""Older ones get no corrections since 2023, and nobody tries MLflow with them."""
_VERSION = "SELECT current_setting('server_version_num')::int, current_setting('server_version')"
_ROLE = "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = "
_FACTS = (
    "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on', r.rolsuper, "
    "r.rolcreaterole OR r.rolcreatedb, pg_encoding_to_char(d.encoding), current_schema(), "
    "has_schema_privilege(current_schema(), 'CREATE'), current_setting('search_path'), d.oid::text "
    "FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()"
)
_TABLES = (
    "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
)


@dataclass(frozen=True)
class Told:
    """What came of a look."""

    word: str = ""
    """`ok`, `missing`, or what is in the way (steps/external_findings.py)."""
    said: str = ""
    database: RemoteTables | None = None
    missing: tuple[str, ...] = ()
    """Of role and database, what the administrator may make."""
    version: str = ""
    away: tuple[str, ...] = ()
    """Addresses that do not answer, while another one does."""
    makes: bool = False
    """The role may make roles or databases."""

    def migrated(self, revision: str) -> Self:
        return replace(self, database=replace(self.database or RemoteTables(), tables=71, revision=revision))


def look(way: Way) -> Told:
    """What the role sees; where it is refused, what an administrator sees. Raises Trouble."""
    place = way.place
    try:
        talk = way.talk(place.login, place.name)
    except Trouble as trouble:
        if trouble.word in ("login", "missing", "answer") and place.admin is not None:
            return _administered(way, place.admin, trouble)
        raise
    with talk:
        version, found = _version(talk), Told(away=_away(way))
        if version[0] < LEAST:
            return replace(found, word="old", said=version[1])
        standby, superuser, makes, encoding, schema, creates, path, oid = _facts(talk)
        found = replace(found, version=version[1], makes=makes is True)
        if standby:
            return replace(found, word="standby")
        if superuser:
            return replace(found, word="superuser")
        if encoding != "UTF8":
            return replace(found, word="encoding", said=_text(encoding))
        if not schema or not creates:
            return replace(found, word="denied", said=f"search_path is {_text(path)}")
        tables = talk.one(_TABLES)
        known = talk.one("SELECT to_regclass('alembic_version')::text")
        revision = (talk.one("SELECT version_num FROM alembic_version") if known else None) or ""
        database = RemoteTables(tables, revision, _which(talk, oid))
    if type(tables) is not int or not 0 <= tables < 2**31 or not re.fullmatch(r"[0-9a-zA-Z_]{0,64}", str(revision)):
        raise Trouble("answer", "what it says of its tables makes no sense")
    return replace(found, word="ok", database=database)


def _away(way: Way) -> tuple[str, ...]:
    return tuple(f"{where} ({each.word})" for where, each in way.away.items())


def _version(talk: Talk) -> tuple[int, str]:
    ((number, shown),) = talk.rows(_VERSION) or [(0, "")]
    return int(number), _text(shown)[:60]


def _facts(talk: Talk) -> tuple[Any, ...]:
    (fields,) = talk.rows(_FACTS) or [()]
    if len(fields) != 8:
        raise Trouble("answer", "it does not say what it is")
    return fields


def _which(talk: Talk, oid: object) -> str:
    """As database_look.py says it. Some services let nobody read the system's identity."""
    try:
        system = talk.one("SELECT system_identifier::text FROM pg_control_system()")
    except Trouble as trouble:
        if not trouble.code:
            raise
        system = "unknown"
    which = f"{system}/{oid}"
    if not re.fullmatch(r"(\d{1,20}|unknown)/\d{1,10}", which):
        raise Trouble("answer", "what it says of its identity makes no sense")
    return which


def _text(value: object) -> str:
    return printable(str(value))[:300]


def _as_admin(way: Way, admin: Login) -> Talk:
    """A connection to the database that every server has; services that do not show it have the named one."""
    try:
        return way.talk(admin, "postgres", writes=True)
    except Trouble as trouble:
        if trouble.word not in ("login", "entry", "missing", "answer"):
            raise
        first = trouble
    try:
        return way.talk(admin, way.place.name, writes=True)
    except Trouble as trouble:
        # That the other is missing says nothing of this login.
        raise Trouble("admin", (first if trouble.word == "missing" else trouble).said) from None


def _administered(way: Way, admin: Login, refused: Trouble) -> Told:
    """What is missing that the administrator may make, or why not. Raises Trouble."""
    user, name = way.place.login.user, way.place.name
    with _as_admin(way, admin) as talk:
        role = talk.rows(f"{_ROLE}%s", user)
        ((superuser, makes_roles, makes_databases),) = talk.rows(f"{_ROLE}current_user") or [(False, False, False)]
        owner = talk.one("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", name)
        number, version = _version(talk)
        found = Told(said=refused.said, version=version, away=_away(way))
        if number < LEAST:
            return replace(found, word="old", said=version)
        joins = not role or superuser or _member(talk, user, number) or _joins(talk, user, number, makes_roles)
    if role and role[0][0]:
        return replace(found, word="superuser")
    if role and (refused.word == "login" or (refused.word == "answer" and not owner and not _enters(way))):
        return replace(found, word="taken")
    if role and owner:
        raise refused
    if owner:
        return replace(found, word="owned", said=_text(owner))
    missing = tuple(what for what, there in (("role", role), ("database", owner)) if not there)
    rights = {"role": makes_roles, "database": makes_databases}
    lacking = [what for what in missing if not superuser and not rights[what]]
    if not lacking and not joins:
        lacking = [f"database: it is no member of the role {user}, and may not become one"]
    if lacking:
        return replace(found, word="rights", said=" and ".join(lacking))
    return replace(found, word="missing", missing=missing)


def _enters(way: Way) -> bool:
    """Whether it is the database that the role lacks: a server that speaks another language does not tell."""
    try:
        way.talk(way.place.login, "postgres").__exit__()
    except Trouble:
        return False
    return True


def _member(talk: Talk, user: str, number: int) -> bool:
    """Whether the administrator may give something to the role as it is; since PostgreSQL 16 a right of its own."""
    right = "SET" if number >= 160000 else "MEMBER"
    return talk.one(f"SELECT pg_has_role(%s, '{right}')", user) is True


def _joins(talk: Talk, user: str, number: int, makes_roles: object) -> bool:
    """Whether it may make itself a member: until PostgreSQL 15 whoever makes roles may."""
    if number < 160000 and makes_roles:
        return True
    return talk.one("SELECT pg_has_role(%s, 'MEMBER WITH ADMIN OPTION')", user) is True


def create(way: Way) -> Told:
    """Makes what is missing, closes the database to everybody else, then looks as the role. Where an earlier one was
    cut off it does what is left. Raises Trouble."""
    found, place = look(way), way.place
    if found.missing and place.admin is not None:
        if "role" in found.missing:
            with _as_admin(way, place.admin) as talk:
                _made(
                    talk,
                    f'CREATE ROLE "{place.login.user}" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD %s',
                    "42710",
                    # The password's proof, not the password: statements get into logs.
                    verifier(place.login.password).reveal(),
                )
        if "database" in found.missing:
            _database(way, place.admin)
        found = look(way)
    if found.word == "ok":
        # Nobody else on this server has business in a database that was made here; its owner says so.
        with way.talk(place.login, place.name, writes=True) as talk:
            own = "SELECT 1 FROM pg_database WHERE datname = %s AND pg_get_userbyid(datdba) = current_user"
            if talk.one(own, place.name):
                talk.rows(f'REVOKE ALL ON DATABASE "{place.name}" FROM PUBLIC', seconds=SECONDS_TO_MAKE)
    return found


def _database(way: Way, admin: Login) -> None:
    user, name = f'"{way.place.login.user}"', f'"{way.place.name}"'
    joined = False
    try:
        with _as_admin(way, admin) as talk:
            number, _ = _version(talk)
            # Only a member of the role may give a database to it; a superuser needs not be one. Who was one before
            # stays.
            superuser = talk.one("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            if not superuser and not _member(talk, way.place.login.user, number):
                joined = True
                talk.rows(f"GRANT {user} TO CURRENT_USER", seconds=SECONDS_TO_MAKE)
            libc = "LOCALE_PROVIDER libc " if number >= 150000 else ""
            plain = f"CREATE DATABASE {name} OWNER {user} TEMPLATE template0 ENCODING 'UTF8'"
            try:
                # As a stack's own database: the order of text is that of its bytes.
                _made(talk, f"{plain} {libc}LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'", "42P04")
            except Trouble as error:
                if error.code not in ("22023", "42809", "42704"):
                    raise
                _made(talk, plain, "42P04")
    finally:
        if joined:
            # On another connection: the first may be lost.
            with _as_admin(way, admin) as talk:
                talk.rows(f"REVOKE {user} FROM CURRENT_USER", seconds=SECONDS_TO_MAKE)


def _made(talk: Talk, statement: str, there: str, *values: str) -> None:
    """It may have been made meanwhile; 23505 is what two get that make the same at once."""
    try:
        talk.rows(statement, *values, seconds=SECONDS_TO_MAKE)
    except Trouble as error:
        if error.code not in (there, "23505"):
            raise
