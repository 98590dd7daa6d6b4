"""A database on another host: what MLflow's own driver is asked, and what is made of the answer."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.probe import Seen
from provisioner.resources.paths import PathProbe, PathState
from provisioner.resources.remote_database import RemoteDatabase, RemoteState, RemoteTables, identity
from provisioner.resources.schema import Schema
from provisioner.resources.unit import Service, UnitProbe, UnitState
from provisioner.runtime import database_look

LOOK = RemoteDatabase("/opt/mlflow/3.17.2", "/etc/mlflow/mlflow.env", "mlflow")
SCHEMA = Schema(id="schema:mlflow", environment=LOOK.environment, env_file=LOOK.env_file, server=LOOK)


class MySql:
    """A driver's connection and its cursor: table -> how many rows it has."""

    def __init__(self, **tables: int) -> None:
        self.tables = tables
        self.found: list[tuple[Any, ...]] = []
        self.asked: list[str] = []

    def cursor(self) -> MySql:
        return self

    def execute(self, question: str) -> None:
        table = re.fullmatch(r"SELECT 1 FROM `(\w+)` LIMIT (\d)", question)
        if table is None:
            self.found = [(name,) for name in self.tables]
            return
        self.asked.append(table[1])
        self.found = [(1,)] * min(self.tables[table[1]], int(table[2]))

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.found

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("tables", "unused"),
    [
        ({}, False),
        ({"alembic_version": 1}, False),
        ({"alembic_version": 1, "runs": 0, "workspaces": 1}, True),
        ({"alembic_version": 1, "runs": 0, "workspaces": 2}, False),
        ({"alembic_version": 1, "runs": 1}, False),
    ],
)
def test_tables_without_a_row_of_anybodys_are_seen(tables: dict[str, int], unused: bool) -> None:
    assert database_look._unused(MySql(**tables), "alembic_version") is unused


def test_a_database_in_use_is_asked_for_one_table_only() -> None:
    used = MySql(alembic_version=1, runs=0, experiments=1, tags=0)
    assert not database_look._unused(used, "alembic_version")
    assert used.asked == ["experiments"]


def seen(**answer: Any) -> RemoteState:
    (state,) = RemoteDatabase.parse([LOOK], json.dumps(answer).encode() + b"\n")
    return state


def test_what_the_driver_found_is_read_and_what_stood_against_it_is_kept_for_the_reader() -> None:
    good = seen(tables=65, revision="a1b2", which="db-1/mlflow", unused=False)
    assert good == RemoteState(RemoteTables(65, "a1b2", "db-1/mlflow"))
    assert (identity(good) or b"").endswith(b"\ndb-1/mlflow\n")
    assert seen(tables=3, revision="", which="db-1/mlflow").database == RemoteTables(3, "", "db-1/mlflow")
    assert seen(error="certificate verify failed") == RemoteState(why="certificate verify failed")
    for bad in ({"tables": -1}, {"revision": "a b"}, {"which": "x\ny"}):
        with pytest.raises(ValueError, match="not "):
            seen(**{"tables": 65, "revision": "a1b2", "which": "db-1/mlflow", **bad})


def test_whoever_does_not_answer_in_time_is_told_as_such_and_half_an_environment_tells_nothing(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    (tmp_path / "mlflow.env").touch()
    (tmp_path / "timeout").write_text('#!/bin/sh\nshift; "$@"\n')
    (tmp_path / "timeout").chmod(0o755)
    look = RemoteDatabase(str(tmp_path), str(tmp_path / "mlflow.env"), "mlflow")
    found = []
    for code in (124, 137, 127, 1):
        program.write_text(f"#!/bin/sh\ncat >/dev/null\nexit {code}\n")
        program.chmod(0o755)
        done = subprocess.run(
            ["sh"],
            input="set -eu\n" + RemoteDatabase.fragment([look]),
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        found += RemoteDatabase.parse([look], done.stdout.encode())
    late = RemoteState(why="no answer within 20 s")
    assert found == [late, late, RemoteState(), RemoteState()]


def test_a_migration_that_ended_half_way_is_begun_anew_while_nothing_is_in_the_tables() -> None:
    half = seen(tables=30, revision="a1b2", which="db-1/mlflow", unused=True)
    found = SCHEMA.diff(Seen({LOOK: half}))
    assert found is not None
    assert "nothing is in the tables" in found.reason
    assert SCHEMA.diff(SCHEMA.after(Seen({LOOK: half}))) is None


def test_a_running_server_is_started_anew_for_new_tables_and_for_nothing_else() -> None:
    """It makes its first experiment only at its start."""
    unit = "mlflow-server.service"
    schema, service = replace(SCHEMA, unit=unit), Service(id=f"unit:{unit}", unit=unit, inputs=("/etc/x",))
    runs = UnitState("loaded", "active", "running", "enabled", record={"/etc/x": str(PathState("file").sha256)})
    before = Seen({LOOK: seen(tables=0, revision="", which="db-1/mlflow"), UnitProbe(unit): runs})
    before = before.put(PathProbe("/etc/x"), PathState("file", content=b""))
    unseen = before.put(LOOK, seen(error="no answer"))
    assert schema.after(unseen)[UnitProbe(unit)] is runs
    change = service.diff(schema.after(before))
    assert change is not None
    assert change.action == "restart"
