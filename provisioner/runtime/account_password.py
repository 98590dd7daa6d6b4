"""Gives an account of MLflow's own a password, where MLflow's API wants the one that nobody knows.

With the service's environment, as its own login: the address is MLFLOW_BACKEND_STORE_URI, of whose server DATABASE is
another database. ACCOUNT, put in front, is (name, password as Werkzeug stores it). The account becomes, or stays, an
administrator. stdout: `set N`, N accounts. stderr, when it fails: the reason in one line. Exit codes: 0, 33.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

ACCOUNT: tuple[str, str] = ("", "")
DATABASE = ""


def main() -> int:
    """See the module's docstring."""
    sqlalchemy: Any = importlib.import_module("sqlalchemy")
    url = sqlalchemy.engine.make_url(os.environ["MLFLOW_BACKEND_STORE_URI"]).set(database=DATABASE)
    name, digest = ACCOUNT
    users = sqlalchemy.table("users", *map(sqlalchemy.column, ("username", "password_hash", "is_admin")))
    change = sqlalchemy.update(users).where(users.c.username == name).values(password_hash=digest, is_admin=True)
    try:
        with sqlalchemy.create_engine(url).begin() as connection:
            found = connection.execute(change).rowcount
    except Exception as error:
        reason = str(getattr(error, "orig", error)).strip().partition("\n")[0][:300]
        print(reason or type(error).__name__, file=sys.stderr)
        return 33
    print(f"set {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
