"""`mlflow.serve`: which half of MLflow a server is, what goes with it, and what a stack of one half consists of."""

from __future__ import annotations

from typing import Any

import pytest
from model import ModelHost, install, request

from provisioner import secret_kinds
from provisioner.commands.env import variables
from provisioner.commands.view import look
from provisioner.errors import UsageError
from provisioner.placement import Placed, judge
from provisioner.settings import Recorded, effective
from provisioner.steps import ordered
from provisioner.switches import switches

ONLY = {"mlflow.serve": "artifacts", "store.engine": "seaweedfs"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mlflow.serve": "tracking"}, 'needs artifacts.mode = "direct"'),
        ({"mlflow.serve": "artifacts", "artifacts.mode": "direct"}, "nothing to do"),
        ({"mlflow.serve": "artifacts", "access.auth": "mlflow"}, "goes without"),
    ],
)
def test_halves_that_contradict_another_setting_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        effective(values, {})
    assert caught.value.next


def test_a_tracking_server_is_one_whose_clients_go_to_the_store_themselves() -> None:
    found = effective({"mlflow.serve": "tracking", "artifacts.mode": "direct"}, {})
    assert found.mlflow.tracks
    assert [step.name for step in ordered(found)] == [step.name for step in ordered(effective({}, {}))]


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_a_server_that_passes_artifacts_on_has_no_database_and_no_secret_of_one(engine: str) -> None:
    found = effective({**ONLY, "database.engine": engine}, {})
    assert {step.name for step in ordered(found)}.isdisjoint({"postgres", "mysql", "database"})
    assert {"database.password", "mlflow.kek"}.isdisjoint(secret_kinds.wanted(found))
    assert {"database.password", "mlflow.kek"} <= set(secret_kinds.wanted(effective({}, {})))


def test_networks_of_a_database_that_is_not_there_make_no_certificates() -> None:
    assert effective({"database.allow": ("10.0.0.0/8",)}, {}).certifies
    assert not effective({**ONLY, "database.allow": ("10.0.0.0/8",)}, {}).certifies


def test_over_several_hosts_it_needs_no_database_and_takes_none() -> None:
    hosts = {name: Placed(name, (role,)) for name, role in (("s", "store"), ("m", "mlflow"), ("p", "proxy"))}
    judge(hosts, ONLY)
    with pytest.raises(UsageError, match="no host for database") as caught:
        judge(hosts, {**ONLY, "mlflow.serve": "all"})
    assert '[mlflow] serve = "artifacts"' in caught.value.next
    assert '[database] engine = "external"' in caught.value.next
    with pytest.raises(UsageError, match="database names d"):
        judge({**hosts, "d": Placed("d", ("database",))}, ONLY)


@pytest.mark.parametrize("before", [None, "all", "tracking"])
def test_a_server_with_runs_does_not_cease_to_show_them(before: str | None) -> None:
    """A record from before this setting says nothing of it."""
    values = {"store.engine": "seaweedfs", **({"mlflow.serve": before} if before else {})}
    (found,) = switches(Recorded("x", values), effective(ONLY, {}))
    assert (found.key, found.recorded) == ("mlflow.serve", before or "all")
    assert "another tracking server" in found.why
    assert found.next


def test_tracking_may_be_added_to_a_server_that_passed_artifacts_on() -> None:
    assert switches(Recorded("x", dict(ONLY)), effective({**ONLY, "mlflow.serve": "all"}, {})) == ()


def test_env_names_the_place_of_artifacts_and_no_tracking_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that has a tracking server keeps it."""
    host = ModelHost()
    install(monkeypatch, host)
    found = variables(look(host, request(ONLY)))
    assert found["MLFLOW_ARTIFACT_LOCATION"] == "mlflow-artifacts://192.0.2.10:5000"
    assert "MLFLOW_TRACKING_URI" not in found
    assert found["MLFLOW_TRACKING_USERNAME"] == "mlflow"
