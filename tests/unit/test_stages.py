"""What of a host's work waits for another host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from provisioner.commands.stages import split, wording
from provisioner.resources.file import File
from provisioner.topology import Here, Member, Topology

TWO = Topology((Member("app", "10.151.0.1", ("store", "mlflow", "proxy")), Member("db", "10.151.0.2", ("database",))))
STEPS: Any = {
    "postgres": SimpleNamespace(roles=("database",)),
    "database": SimpleNamespace(roles=("database",)),
    "mlflow": SimpleNamespace(roles=("mlflow",)),
    "proxy": SimpleNamespace(roles=("proxy",)),
}


def resource(id: str, *needs: str, step: str = "mlflow", lane: str = "") -> File:
    return File(id=id, path=f"/{id}", content=b"", needs=needs).of(step, lane)


def ids(resources: Any) -> list[str]:
    return [each.id for each in resources]


def test_one_host_waits_for_nobody() -> None:
    stages = split([resource("unit", "step:database")], STEPS, Here())
    assert (ids(stages.first), stages.later, stages.needs) == (["unit"], (), ())


def test_what_needs_another_hosts_step_waits_and_so_does_all_behind_it() -> None:
    resources = [
        resource("venv", lane="venv"),
        resource("env"),
        resource("unit", "venv", "step:database"),
        resource("gone"),
        resource("site", step="proxy"),
        resource("nginx", "step:mlflow", step="proxy"),
    ]
    stages = split(resources, STEPS, Here(TWO, "app"))
    assert ids(stages.first) == ["venv", "env", "site"]
    assert ids(stages.later) == ["unit", "gone", "nginx"]
    assert stages.needs == ("step:database@db",)


def test_the_host_itself_does_its_own_at_once() -> None:
    stages = split([resource("role", "step:postgres", step="database")], STEPS, Here(TWO, "db"))
    assert (ids(stages.first), stages.needs) == (["role"], ())


def test_a_named_host_is_waited_for_but_not_oneself() -> None:
    resources = [resource("one", "after:mlflow@db"), resource("two", "after:mlflow@app", lane="other")]
    stages = split(resources, STEPS, Here(TWO, "app"))
    assert (ids(stages.first), ids(stages.later), stages.needs) == (["two"], ["one"], ("after:mlflow@db",))


def test_what_is_waited_for_is_said_in_words() -> None:
    assert wording(("step:database@db", "after:mlflow@m-1")) == "database on db, mlflow on m-1"
