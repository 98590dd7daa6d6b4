"""`secrets rotate` with a host in memory: what becomes new, in which order, and what a failure leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_commands_converge import A, Silent, World

from provisioner import audit, vault
from provisioner.commands.apply import apply
from provisioner.commands.options import Options
from provisioner.commands.rotate import rotate
from provisioner.commands.rotation import GROUPS, chosen
from provisioner.errors import Exit, UsageError
from provisioner.resources.paths import ABSENT, PathProbe


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(monkeypatch, A)
    world.run()
    world.asked = []
    return world


def turn(world: World, name: str) -> tuple[Exit, Silent]:
    reporter = Silent()
    made = Options(hosts=tuple(world.hosts), default_inventory=False)
    return rotate(made, reporter, name), reporter  # type: ignore[arg-type]


def here() -> vault.Vault:
    kept, _ = vault.read_controller(A)
    assert kept is not None
    return kept


def there(world: World) -> vault.Vault:
    content = world.hosts[A].value(PathProbe(vault.HOST_FILE)).content
    assert isinstance(content, bytes)
    return vault.parse(content, "there")


@pytest.mark.parametrize(
    "group", [group for group in GROUPS if group not in ("mlflow.kek", "accounts", "tls.root", "store.client")]
)
def test_a_secret_gets_a_new_value_on_both_sides_and_nothing_else_does(one: World, group: str) -> None:
    before = here()
    code, ended = turn(one, group)
    assert code == Exit.OK, ended.results[A].error
    after = here()
    assert after.entries == there(one).entries
    new = {name for name in after.entries if after.entries[name] != before.entries.get(name)}
    assert new - {"store.user.before"} == set(GROUPS[group])
    assert all(after.entries[name].generation == 2 for name in GROUPS[group])
    assert one.asked == ["full"]
    changes = ended.results[A].changes
    assert changes[-1].id == "file:secrets.json", "the host's own document comes last"
    told = {each.id: each.change.reason.rpartition("; ")[2] for each in changes if each.id.startswith("file:")}
    assert set(told.values()) == {"a new value"}, told


def test_the_log_says_which_command_changed_what(one: World) -> None:
    audit.path(A).unlink()
    turn(one, "login")
    lines = [json.loads(line) for line in audit.path(A).read_text().splitlines()]
    assert {line["command"] for line in lines} == {"provision secrets rotate login"}
    assert [line["result"] for line in lines if line["resource"] == "file:secrets.json"] == ["ok"]


def test_the_earlier_values_are_back_on_both_sides_when_the_verification_fails(one: World) -> None:
    before = here()
    answers = iter([False, True])
    verify = one._verify

    def once_red(target: Any, **options: Any) -> Any:
        one.green = next(answers)
        return verify(target, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("provisioner.verify.run.verify", once_red)
        code, ended = turn(one, "database.password")
    error = ended.results[A].error
    assert code == Exit.VERIFY
    assert error is not None
    assert "the earlier value is back" in error.what
    reasons = {each.id: each.change.reason for each in ended.results[A].changes}
    assert reasons["file:secrets.json"] == "content differs; the earlier value again"
    assert reasons["file:mlflow.env"].endswith("; the earlier value again")
    assert here()["database.password"] == there(one)["database.password"] == before["database.password"]
    assert here().entries["database.password"].generation == 3


def test_a_failure_on_the_host_leaves_this_machine_with_the_earlier_value(one: World) -> None:
    before = here()
    one.hosts[A].failing = {"unit:mlflow-server.service"}
    code, _ = turn(one, "database.password")
    assert code == Exit.FAILED
    assert here() == before


def test_a_host_that_is_not_as_wanted_is_mended_first(one: World) -> None:
    one.hosts[A].put(PathProbe("/etc/mlflow/mlflow.env"), ABSENT)
    before = here()
    code, ended = turn(one, "login")
    error = ended.results[A].error
    assert code == Exit.REFUSED
    assert error is not None
    assert "come first" in error.what
    assert (here(), one.asked) == (before, [])


def test_who_used_a_changed_password_is_told_and_the_password_is_not(one: World) -> None:
    _, ended = turn(one, "login")
    (told,) = ended.results[A].told
    assert "192.0.2.77" in told
    assert here()["login"].reveal() not in str(ended.document)


def test_who_must_trust_another_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, A)
    sets = ("store.engine=seaweedfs", "access.tls=internal")
    assert apply(Options(hosts=(A,), sets=sets, default_inventory=False), Silent()) == Exit.OK  # type: ignore[arg-type]
    before = here()
    code, ended = turn(world, "tls.root")
    assert code == Exit.OK, ended.results[A].error
    (told,) = ended.results[A].told
    assert "192.0.2.77" in told
    assert "env --ca FILE" in told
    assert here()["tls.root"] == there(world)["tls.root"] != before["tls.root"]


def test_a_group_of_which_the_stack_has_none_is_a_usage_error(one: World) -> None:
    code, ended = turn(one, "tls.root")
    assert code == Exit.USAGE
    assert "has no tls.root" in ended.results[A].error.what  # type: ignore[union-attr]


def test_a_name_that_is_no_secret_is_a_usage_error_and_one_of_a_group_is_its_group() -> None:
    with pytest.raises(UsageError, match="not a secret"):
        chosen("nonsense")
    assert chosen("store.user.secret") == (("store.user",),)
    assert [group for turn in chosen("all") for group in turn] == list(GROUPS)
