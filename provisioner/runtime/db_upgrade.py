"""Brings MLflow's database to the schema of the installed version: `python -I - WAIT [migrate] [accounts=NAME]`.

The address comes from MLFLOW_BACKEND_STORE_URI: `mlflow db upgrade` takes it on its command line only,
where every user of the host could read the password. Imports first and then waits up to WAIT seconds
for the database to answer, so that it can be started while the database is still being installed.

With `accounts=NAME` it is the schema of MLflow's own accounts, in the database NAME of the same server.

A database without tables gets them. One with tables is only moved to another schema when `migrate` is
given (a dump comes first). stdout: `schema BEFORE AFTER`, with `-` for a database that had none;
stderr, when it fails: one line each of `what`, `why` and `next`.
Exit codes: 0 the schema is the one wanted · 30 the database does not answer · 31 it refuses the role
· 32 another version's schema, and `migrate` was not given · 33 the migration failed
· 35 tables that MLflow did not make.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
import warnings
from typing import Any

REFUSALS = (
    "password authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "Access denied",
    "Unknown database",
)


FILLED = {"workspaces": 1}
"""Table -> rows that MLflow's own migrations make."""
NEXT = {
    30: "start the database: look at its unit with systemctl status",
    31: "the role's password or rights differ from MLflow's settings: run the database step",
    32: "moving it needs a dump first and is the work of an upgrade",
    33: "read the database's own log; what was begun is undone, or taken away by the next run while no table has a row",
    35: "look whose they are; MLflow wants a database of its own: database.name",
}


def _failed(code: int, what: str, error: object = "") -> int:
    # The first line says what happened; the rest is hints, or the whole SQL statement.
    reason = str(error).strip().partition("\n")[0].strip() or f"exit {code}"
    print(f"what {what}\nwhy {reason[:300]}\nnext {NEXT[code]}", file=sys.stderr)
    return code


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    warnings.simplefilter("ignore")
    # A secret that one of these libraries quotes must not get into the journal.
    logging.disable(logging.WARNING)
    deadline = time.monotonic() + float(arguments[0])
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    sqlalchemy: Any = importlib.import_module("sqlalchemy")
    utils: Any = importlib.import_module("mlflow.store.db.utils")

    url = sqlalchemy.engine.make_url(os.environ["MLFLOW_BACKEND_STORE_URI"])
    name = next((each.partition("=")[2] for each in arguments if each.startswith("accounts=")), "")
    schema: Any = _Accounts(url.get_backend_name()) if name else _Runs(utils)
    if name:
        url = url.set(database=name)
    engine = utils.create_sqlalchemy_engine(url.render_as_string(hide_password=False))
    while True:
        try:
            tables = [t for t in sqlalchemy.inspect(engine).get_table_names() if not t.startswith("alembic_")]
            break
        except sqlalchemy.exc.OperationalError as error:
            text = str(error.orig)
            # All can pass by themselves while the role is being made, so even a refusal is asked again.
            refused = any(words in text for words in REFUSALS)
            if time.monotonic() > deadline and refused:
                return _failed(31, "the database refuses the role", text)
            if time.monotonic() > deadline:
                return _failed(30, "the database does not answer", text)
            time.sleep(0.1)
    before = schema.version(engine)
    # MLflow makes its first tables and migrates them in two transactions: a run killed in between
    # leaves the former without a version.
    unfinished = before is None and set(tables) <= schema.first
    if before == schema.head:
        print(f"schema {before} {schema.head}")
        return 0
    # MySQL undoes no table: what a failed migration leaves cannot be gone on with ("Table already exists").
    if engine.dialect.name == "mysql" and tables and (unfinished or schema.knows(before)) and not _used(engine, tables):
        _drop(engine, sqlalchemy.inspect(engine).get_table_names())
        before, unfinished = None, True
    if before is None and not unfinished:
        foreign = sorted(set(tables) - schema.first)
        named = ", ".join(foreign[:5]) + (f" and {len(foreign) - 5} more" if len(foreign) > 5 else "")
        return _failed(35, "the database holds tables of something else than MLflow", f"without a version: {named}")
    if not unfinished and "migrate" not in arguments:
        return _failed(32, "the database holds another version's tables", f"schema {before}, wanted {schema.head}")
    try:
        if unfinished:
            schema.make(engine)
        else:
            schema.move(engine)
    except Exception as error:
        return _failed(33, "the migration failed", getattr(error, "orig", error))
    print(f"schema {before or '-'} {schema.version(engine)}")
    return 0


def _quoted(engine: Any, table: str) -> Any:
    return engine.dialect.identifier_preparer.quote_identifier(table)


def _used(engine: Any, tables: list[str]) -> bool:
    """A table has a row that no migration made."""
    with engine.connect() as connection:
        for table in tables:
            most = FILLED.get(table, 0)
            look = f"SELECT 1 FROM {_quoted(engine, table)} LIMIT {most + 1}"  # noqa: S608  quoted
            if len(connection.exec_driver_sql(look).fetchall()) > most:
                return True
    return False


def _drop(engine: Any, tables: list[str]) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
        for table in tables:
            connection.exec_driver_sql(f"DROP TABLE {_quoted(engine, table)}")
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 1")


def _own_names(table: Any, connection: Any, **_: Any) -> None:
    for key in table.foreign_key_constraints:
        if key.name:
            key.name = f"{key.name}_{table.name}"[:64]


class _Runs:
    """The schema of runs, models and everything else."""

    def __init__(self, utils: Any):
        self.first = set(utils.InitialBase.metadata.tables)
        self.head = utils._get_latest_schema_revision()
        self.version, self.make, self.move = utils._get_schema_version, utils._initialize_tables, utils._upgrade_db
        self._utils = utils

    def knows(self, revision: Any) -> bool:
        """Whether MLflow has a migration that ends at `revision`."""
        config = self._utils._get_alembic_config(db_url="")
        scripts = self._utils.ScriptDirectory.from_config(config)
        return any(script.revision == revision for script in scripts.walk_revisions())


class _Accounts:
    """The schema of MLflow's own accounts. It is made in one transaction: PostgreSQL has never half of it."""

    def __init__(self, dialect: str) -> None:
        # Importing it reads this file, which only the running service can see.
        os.environ.pop("MLFLOW_AUTH_CONFIG_PATH", None)
        self._utils: Any = importlib.import_module("mlflow.server.auth.db.utils")
        self._scripts = self._utils.ScriptDirectory.from_config(self._utils._get_alembic_config(""))
        self.first: set[str] = set()
        if dialect == "mysql":
            # What the first migration makes; a key of it has the name of another's, which MySQL refuses
            # (error 1005, errno 121): each gets its table's name besides.
            self.first = {"users", "experiment_permissions", "registered_model_permissions"}
            sqlalchemy: Any = importlib.import_module("sqlalchemy")
            sqlalchemy.event.listen(sqlalchemy.Table, "before_create", _own_names)
        self.head = self._scripts.get_current_head()

    def knows(self, revision: Any) -> bool:
        """Whether there is a migration that ends at `revision`."""
        return any(script.revision == revision for script in self._scripts.walk_revisions())

    def version(self, engine: Any) -> Any:
        with engine.connect() as connection:
            options = {"version_table": "alembic_version_auth"}
            return self._utils.MigrationContext.configure(connection, opts=options).get_current_revision()

    def make(self, engine: Any) -> None:
        self._utils.migrate(engine, "head")

    move = make


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
