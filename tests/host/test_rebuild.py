"""A server that was rebuilt from scratch under its old address becomes the same stack again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from provisioner.lab import hosts

from .conftest import FIRST_RUN, Stack


@pytest.fixture(scope="module")
def before(stack: Stack) -> str:
    """The client's environment of the server that was."""
    run = stack.run("env", "--format", "json")
    assert run.code == 0, run.err
    return run.out


@pytest.fixture(scope="module")
def rebuilt(stack: Stack, before: str) -> Iterator[Stack]:
    stack.host = hosts.reset(stack.host.name)
    yield stack
    stack.stand_again()


def test_the_changed_host_key_is_caught_and_the_way_on_is_named(rebuilt: Stack) -> None:
    run = rebuilt.run("--json")
    assert run.code == 3, run.why
    error = run.host["error"]
    assert "key" in error["what"]
    assert f"provision forget-key {rebuilt.address}" in error["next"]
    assert run.changed() == []
    assert rebuilt.host.exec("test -e /etc/provision").rc == 1
    assert rebuilt.run("env").out == ""


def test_the_same_command_restores_the_stack_with_its_secrets(rebuilt: Stack, before: str) -> None:
    forgotten = rebuilt.operator.run("forget-key", rebuilt.address)
    assert forgotten.code == 0
    assert "forgot SHA256:" in forgotten.out

    run = rebuilt.run("--json", timeout=FIRST_RUN)

    assert run.code == 0, run.why
    assert set(run.changed()) == set(rebuilt.first.changed())
    assert run.host["run"]
    assert rebuilt.run("env", "--format", "json").out == before
    # A client that kept its environment works.
    found = json.loads(before)
    verified = rebuilt.operator.run(
        "verify", "--tracking-uri", found["MLFLOW_TRACKING_URI"], "--json", timeout=120, **found
    )
    assert verified.code == 0, verified.why
    again = rebuilt.run("plan", "--json", "--exit-code")
    assert again.code == 0, again.out
