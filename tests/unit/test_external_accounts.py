"""MLflow's own accounts in a PostgreSQL of somebody else's: one more database there, made or asked for."""

from __future__ import annotations

import configparser
from dataclasses import replace

import pytest
from test_external_database import ADMIN, ENVIRONMENT, KEPT, context
from test_step_mlflow_proxy import content

from provisioner.engine.probe import Seen
from provisioner.resources.external_database import ExternalDatabase, ExternalLook
from provisioner.resources.external_look import Told
from provisioner.resources.file import File
from provisioner.resources.mark import MarkProbe
from provisioner.resources.paths import ABSENT, PathProbe, PathState
from provisioner.resources.remote_database import RemoteDatabase, RemoteState, RemoteTables
from provisioner.resources.schema import Schema
from provisioner.secrets import Secret
from provisioner.steps import Context, mlflow, own_accounts
from provisioner.steps.database import IDENTITY
from provisioner.steps.external_database import PROVEN, STEP, place

GOOD = Told("ok", database=RemoteTables(70, "abc", "7/1"))
LOOK = RemoteDatabase("/opt/mlflow/3.17.2", ENVIRONMENT, "runs_auth", "alembic_version_auth")


def own(seen: Seen | None = None, secrets: dict[str, Secret] | None = None) -> Context:
    return context(seen, secrets, access__auth="mlflow")


def told(runs: Told, accounts: Told, **secrets: Secret) -> Context:
    """A host that was never made, and what its looks at the two databases told."""
    guess = own(secrets={key.replace("_", "."): value for key, value in secrets.items()})
    making = [PathProbe(f"/etc/provision/making.database.{name}", read=False) for name in ("runs", "runs_auth")]
    absent = [PathProbe(path) for path in (PROVEN, ENVIRONMENT, IDENTITY)]
    seen = Seen(dict.fromkeys((*absent, *making), ABSENT)).put(MarkProbe("database.runs"), False)
    seen = seen.put(STEP.server(guess), RemoteState()).put(LOOK, RemoteState())
    seen = seen.put(ExternalLook(place(guess)), runs).put(ExternalLook(place(guess, "runs_auth")), accounts)
    return replace(guess, seen=seen)


def made(there: Context) -> list[ExternalDatabase]:
    return [resource for resource in STEP.resources(there) if isinstance(resource, ExternalDatabase)]


def test_mlflow_reaches_them_as_its_runs() -> None:
    parsed = configparser.ConfigParser()
    parsed.read_string(content(mlflow.STEP, own(), own_accounts.INI))
    assert parsed["mlflow"]["database_uri"] == STEP.uri(own(), "runs_auth").reveal()
    assert "@/runs_auth?host=db1.example.com,db2.example.com" in parsed["mlflow"]["database_uri"]
    (tables,) = (r for r in mlflow.STEP.resources(own()) if r.id == "schema:accounts")
    assert isinstance(tables, Schema)
    assert (tables.server, tables.needs) == (LOOK, ("venv:mlflow", "step:external-database"))
    assert {LOOK, STEP.server(own())} <= set(STEP.looks(own()))


def test_an_administrator_makes_the_role_once_and_both_databases() -> None:
    both = Told("missing", missing=("role", "database"))
    there = told(both, both, **{key.replace(".", "_"): value for key, value in ADMIN.items()})
    assert [check.status for check in STEP.preflight(there)] == ["ok"]
    runs, accounts = made(there)
    titles = [change.title for one in (runs, accounts) if (change := one.diff(there.seen)) is not None]
    assert titles == [
        "role tracker and database runs at db1.example.com",
        "database runs_auth at db1.example.com",
    ]
    assert accounts.needs == (runs.id,), "one after the other: the second finds the role"
    assert (accounts.place.admin, accounts.identity) == (runs.place.admin, own_accounts.IDENTITY)


def test_without_one_what_is_missing_is_asked_for_with_the_statement() -> None:
    (good, bad) = STEP.preflight(told(GOOD, Told("missing")))
    assert good.status == "ok"
    assert (bad.id, bad.status) == ("external-database-accounts", "fail")
    assert "CREATE DATABASE runs_auth OWNER tracker;" in str(bad.fix)


def test_what_is_in_the_way_of_both_is_told_once() -> None:
    (bad,) = STEP.preflight(told(Told("login"), Told("login")))
    assert (bad.id, bad.status) == ("external-database", "fail")


def test_what_is_there_already_is_left_alone() -> None:
    accounts = Told("ok", database=RemoteTables(0, "", "7/2"))
    there = told(GOOD, accounts)
    assert [check.status for check in STEP.preflight(there)] == ["ok"]
    assert [one.diff(there.seen) for one in made(there)] == [None, None]
    files = {r.path: r.content for r in STEP.resources(there) if isinstance(r, File)}
    named = {path: files[path].split()[-1] for path in (IDENTITY, own_accounts.IDENTITY)}
    assert named == {IDENTITY: b"7/1", own_accounts.IDENTITY: b"7/2"}, "at once, or the next run starts the server anew"


@pytest.mark.parametrize("lost", ["", "runs_auth"])
def test_both_are_proven_together_and_the_one_that_is_lost_is_asked_for_again(lost: str) -> None:
    there = own()
    (proof,) = (r for r in STEP.resources(there) if isinstance(r, File) and r.path == PROVEN)
    (before,) = (r for r in STEP.resources(context()) if isinstance(r, File) and r.path == PROVEN)
    assert proof.content.startswith(before.content)
    assert proof.content != before.content, "who switches to accounts is looked at anew"
    line = f'MLFLOW_BACKEND_STORE_URI="{STEP.uri(there, "runs").reveal()}"\n'
    good, bad = RemoteState(RemoteTables(20, "abc", "7/2")), RemoteState(why="does not exist")
    seen = Seen(
        {
            PathProbe(PROVEN): PathState("file", content=proof.content),
            PathProbe(ENVIRONMENT): PathState("file", content=line.encode()),
            PathProbe(IDENTITY): PathState("file", content=KEPT),
            MarkProbe("database.runs"): True,
            STEP.server(there): good,
            LOOK: bad if lost else good,
        }
    )
    looks = [look.place.name for look in STEP.looks(replace(there, seen=seen)) if isinstance(look, ExternalLook)]
    assert looks == ([lost] if lost else [])
    files = {r.path: r.content for r in STEP.resources(replace(there, seen=seen)) if isinstance(r, File)}
    assert (own_accounts.IDENTITY in files) is not bool(lost)
