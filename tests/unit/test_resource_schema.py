"""The tables: made on an empty database, never moved."""

from __future__ import annotations

import pytest
import shells
from hypothesis import given
from hypothesis import strategies as st

from provisioner.engine.probe import Seen
from provisioner.engine.resource import Change
from provisioner.errors import Exit, Refused
from provisioner.resources.postgresql.server import DatabaseState, ServerProbe, ServerState
from provisioner.resources.schema import Schema
from provisioner.runtime import mlflow as runtime

SERVER = ServerProbe("15", "mlflow", "mlflow")
SCHEMA = Schema(id="schema:x", environment="/opt/mlflow/3.17.2", env_file="/etc/mlflow/mlflow.env", server=SERVER)
TABLES = st.none() | st.integers(0, 80)
DATABASES = st.none() | st.builds(
    DatabaseState, tables=TABLES, revision=st.sampled_from(["", runtime.SCHEMA_HEAD, "f4a9b2c7d1e6"])
)


def change(database: DatabaseState | None) -> Change | None:
    return SCHEMA.diff(Seen({SERVER: ServerState(running=True, database=database)}))


@given(DATABASES, st.booleans())
def test_after_the_change_nothing_is_left_to_do(database: DatabaseState | None, running: bool) -> None:
    seen = Seen({SERVER: ServerState(running=running, database=database)})
    assert SCHEMA.diff(SCHEMA.after(seen)) is None


def test_an_empty_database_gets_its_tables() -> None:
    made = change(DatabaseState(tables=0))
    assert made is not None
    assert (made.action, made.reason) == ("run", "no tables yet")


def test_tables_without_a_version_are_what_a_killed_run_left() -> None:
    made = change(DatabaseState(tables=8))
    assert made is not None
    assert "did not finish" in made.reason


def test_a_database_that_does_not_answer_is_looked_at_when_its_turn_comes() -> None:
    made = change(None)
    assert made is not None
    assert made.action == "check"


def test_the_tables_of_another_version_are_refused_with_exit_4() -> None:
    with pytest.raises(Refused) as refused:
        change(DatabaseState(tables=80, revision="f4a9b2c7d1e6"))
    assert refused.value.exit == Exit.REFUSED
    assert "keep the version that made it" in refused.value.next


def test_the_tables_that_are_wanted_need_nothing() -> None:
    assert change(DatabaseState(tables=71, revision=runtime.SCHEMA_HEAD)) is None


def test_the_fragment_is_good_shell_and_holds_no_address_of_the_database() -> None:
    fragment = Schema.apply([(SCHEMA, Change("run", ""))])
    assert shells.lint(f"say() {{ :; }}\n{fragment}") == ""
    assert "postgresql+psycopg2" not in fragment
