"""What a service's database on another host says of itself: `python -I - ENV_FILE VERSION_TABLE [DATABASE]`, or how
many rows two of its tables have: `python -I - ENV_FILE rows ONE OTHER KEPT MOST` (KEPT: the column that says active),
or whose a run is: `python -I - ENV_FILE run ID`.

Runs with the service's own environment, as its own login: what the service will see. The address comes from
MLFLOW_BACKEND_STORE_URI in ENV_FILE, as systemd reads it; DATABASE names another one of the same server. Only the
driver is imported, for the few milliseconds that a look may take. stdout: one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import urllib.parse
from pathlib import Path
from typing import Any

TIMEOUT = 5
_TABLES = "SELECT count(*) FROM information_schema.tables WHERE table_schema = {schema} AND table_type = 'BASE TABLE'"


def address(text: str) -> str:
    """The variable's value in an environment file: plain, or in double quotes with four characters escaped."""
    found = re.search(r'^MLFLOW_BACKEND_STORE_URI=(?:"((?:[^"\\]|\\.)*)"|(.*))$', text, re.MULTILINE)
    if found is None:
        raise ValueError("the service's environment file names no database")
    return found[2] if found[1] is None else re.sub(r'\\([\\"$`])', r"\1", found[1])


def _postgresql(url: urllib.parse.SplitResult, name: str) -> Any:
    psycopg2: Any = importlib.import_module("psycopg2")

    plain = url._replace(scheme="postgresql", path="/" + urllib.parse.quote(name, safe="")).geturl()
    connection = psycopg2.connect(plain, connect_timeout=TIMEOUT)
    # One transaction: what is set for a session would stay with it in a pool's hands (PgBouncer), and be the next
    # client's. As a parameter of the connection PgBouncer refuses it.
    connection.set_session(readonly=True)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 5000")
    return connection


def _mysql(url: urllib.parse.SplitResult, name: str) -> Any:
    pymysql: Any = importlib.import_module("pymysql")

    options = dict(urllib.parse.parse_qsl(url.query))
    tls = {"ssl_ca": options["ssl_ca"], "ssl_verify_identity": True} if "ssl_ca" in options else {}
    return pymysql.connect(
        host=url.hostname or "",
        port=url.port or 3306,
        user=urllib.parse.unquote(url.username or ""),
        password=urllib.parse.unquote(url.password or ""),
        database=name,
        connect_timeout=TIMEOUT,
        read_timeout=TIMEOUT,
        **tls,
    )


def _asked(connection: Any, question: str) -> Any:
    cursor = connection.cursor()
    try:
        cursor.execute(question)
        row = cursor.fetchone()
        return row[0] if row else None
    finally:
        cursor.close()


def _unused(connection: Any, version_table: str) -> bool:
    """Of MySQL, which undoes no table of a migration that failed: no table has a row that a migration did not make
    (one makes the first of `workspaces`). `experiments` and `users` have one as soon as the service ran."""
    cursor = connection.cursor()
    try:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' LIMIT 500"
        )
        names = [name for (name,) in cursor.fetchall() if name != version_table]
        for name in sorted(names, key=lambda name: name not in {"experiments", "users"}):
            most = 1 if name == "workspaces" else 0
            quoted = name.replace("`", "``")
            cursor.execute(f"SELECT 1 FROM `{quoted}` LIMIT {most + 1}")  # noqa: S608  quoted
            if len(cursor.fetchall()) > most:
                return False
        return bool(names)
    finally:
        cursor.close()


def look(text: str, version_table: str, other: str) -> dict[str, Any]:
    """What the database is: which one, how many tables, of which version. Raises whatever stands against it."""
    url = urllib.parse.urlsplit(address(text))
    name = other or urllib.parse.unquote(url.path.lstrip("/"))
    postgresql = url.scheme.startswith("postgresql")
    connection = _postgresql(url, name) if postgresql else _mysql(url, name)
    try:
        schema = "current_schema()" if postgresql else "DATABASE()"
        tables = _asked(connection, _TABLES.format(schema=schema))
        known = _asked(
            connection,
            f"SELECT count(*) FROM information_schema.tables WHERE table_schema = {schema} "  # noqa: S608  our own words
            f"AND table_name = '{version_table}'",
        )
        revision = _asked(connection, f"SELECT version_num FROM {version_table}") if known else None  # noqa: S608
        which = "SELECT CONCAT(@@hostname, '/', DATABASE())"
        known_as = _which(connection) if postgresql else str(_asked(connection, which))
        unused = not postgresql and _unused(connection, version_table)
        return {"tables": int(tables), "revision": revision or "", "which": known_as, "unused": unused}
    finally:
        connection.close()


def _which(connection: Any) -> str:
    oid = _asked(connection, "SELECT oid::text FROM pg_database WHERE datname = current_database()")
    try:
        system = _asked(connection, "SELECT system_identifier::text FROM pg_control_system()")
        return f"{system}/{oid}"
    except Exception:  # some services let nobody read it
        return f"unknown/{oid}"


def _own(text: str) -> tuple[Any, str]:
    url = urllib.parse.urlsplit(address(text))
    connect = _postgresql if url.scheme.startswith("postgresql") else _mysql
    return connect(url, urllib.parse.unquote(url.path.lstrip("/"))), url.scheme


def rows(text: str, one: str, other: str, kept: str, most: str) -> dict[str, Any]:
    """The numbers of rows, up to `most`. The names are the tool's own."""
    connection, _ = _own(text)
    try:
        count = "SELECT count(*) FROM (SELECT 1 FROM {} WHERE {} = 'active' LIMIT {}) AS part"
        return {"rows": [int(_asked(connection, count.format(each, kept, int(most)))) for each in (one, other)]}
    finally:
        connection.close()


def run(text: str, identifier: str) -> dict[str, Any]:
    """The experiment that a run belongs to: a list of none or one."""
    connection, _ = _own(text)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT experiment_id FROM runs WHERE run_uuid = %s", (identifier,))
            found = cursor.fetchone()
        return {"run": [found[0]] if found else []}
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Prints what was found, or why nothing was: `{"error": …}`."""
    path, work, *others = arguments
    try:
        text = Path(path).read_text(encoding="utf-8")
        if work == "rows":
            found = rows(text, *others)
        elif work == "run":
            found = run(text, *others)
        else:
            found = look(text, work, (*others, "")[0])
    except Exception as error:
        # The first line says what happened, of several addresses one line of each; drivers do not repeat the password.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        each = [line for line in lines if " failed: " in line] or lines[:1]
        found = {"error": "; ".join(each)[:300]}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
