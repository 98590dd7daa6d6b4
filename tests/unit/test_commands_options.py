"""Which stack a command means, and the arguments that mean it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisioner.commands.forget import forget_key
from provisioner.commands.init import init
from provisioner.commands.options import Options, one_stack, select
from provisioner.errors import UsageError
from provisioner.transport import keystore

INVENTORY = '[roles]\nmlflow = ["one"]\n[hosts.one]\naddress = "10.151.0.9"\nport = 2222\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def test_the_inventory_of_the_folder_is_said_once_and_not_named_in_commands(folder: Path) -> None:
    (folder / "inventory.toml").write_text(INVENTORY)
    said: list[str] = []
    (stack,) = Options(say=said.append).stacks().stacks
    assert said == ["inventory    inventory.toml"]
    assert select(stack) == "--host one:2222"


def test_an_inventory_that_was_named_is_not_said_and_stands_in_commands(folder: Path) -> None:
    (folder / "my prod.toml").write_text(INVENTORY)
    said: list[str] = []
    (stack,) = Options(inventory="my prod.toml", say=said.append).stacks().stacks
    assert said == []
    assert select(stack) == "--host one:2222 --inventory 'my prod.toml'"
    again = Options(inventory="my prod.toml", hosts=("one:2222",)).stacks().stacks
    assert again == (stack,)


def test_the_folder_s_inventory_does_not_count_where_it_was_not_asked_for(folder: Path) -> None:
    (folder / "inventory.toml").write_text("[nonsense]\n")
    (stack,) = Options(hosts=("root@10.151.0.1",), default_inventory=False).stacks().stacks
    assert stack.inventory is None


def test_a_stack_as_recorded_has_no_flags_and_no_inventory(folder: Path) -> None:
    (folder / "inventory.toml").write_text(INVENTORY + "[access]\nport = 5001\n")
    (stack,) = Options(sets=("mlflow.workers=3",)).stacks().stacks
    recorded = stack.as_recorded()
    assert (dict(recorded.flags), recorded.inventory) == ({}, None)
    assert (recorded.id, recorded.host) == (stack.id, stack.host)


@pytest.mark.parametrize(
    ("name", "recorded"),
    [("one", "[10.151.0.9]:2222"), ("root@10.151.0.9", "[10.151.0.9]:2222"), ("10.151.0.7", "10.151.0.7")],
)
def test_a_key_is_forgotten_by_the_name_the_inventory_gives_its_host(
    folder: Path, name: str, recorded: str, capsys
) -> None:
    (folder / "inventory.toml").write_text(INVENTORY)
    keystore.record(recorded, "ssh-ed25519", b"blob")
    assert forget_key(Options(), name) == 0
    assert "forgot SHA256:" in capsys.readouterr().out
    assert keystore.forget([recorded]) == []


def test_what_is_no_host_has_no_key(folder: Path) -> None:
    with pytest.raises(UsageError):
        forget_key(Options(), "-oProxyCommand=x")


def test_with_json_a_small_command_too_answers_one_document(folder: Path, capsys) -> None:
    assert init(Options(json=True, default_inventory=False), "new.toml") == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"schema": 1, "command": "init", "exit": 0, "file": "new.toml"}
    keystore.record("10.151.0.7", "ssh-ed25519", b"blob")
    for count in (1, 0):
        assert forget_key(Options(json=True), "10.151.0.7") == 0
        assert len(json.loads(capsys.readouterr().out)["forgotten"]) == count


@pytest.mark.parametrize(("by_option", "in_file"), [(True, False), (True, True), (False, True)])
def test_a_command_to_paste_names_the_key_unless_the_inventory_does(
    folder: Path, by_option: bool, in_file: bool
) -> None:
    for name in ("one", "other"):
        (folder / name).write_text("key")
    (folder / "inventory.toml").write_text(INVENTORY + ('identity = "other"\n' if in_file else ""))
    (stack,) = Options(identity="one" if by_option else None).stacks().stacks
    assert select(stack) == f"--host one:2222 -i {folder}/one" if by_option else "--host one:2222"
    (stack,) = Options(identity="other" if in_file else "one").stacks().stacks
    assert (" -i " in select(stack)) is not in_file


@pytest.mark.parametrize("where", ["option", "inventory"])
def test_a_key_that_is_not_there_is_a_usage_error_before_anything_is_connected_to(folder: Path, where: str) -> None:
    (folder / "inventory.toml").write_text(INVENTORY + ('identity = "absent"\n' if where == "inventory" else ""))
    options = Options(identity="absent" if where == "option" else None)
    with pytest.raises(UsageError) as error:
        options.stacks()
    assert f"{folder}/absent cannot be read" in error.value.what
    assert ('[hosts."one"] identity' in error.value.next) is (where == "inventory")
    (folder / "absent.pub").write_text("ssh-ed25519 AAAA")  # enough where an agent holds the other half
    options.stacks()


def roles(host: str) -> str:
    return "".join(f'{role} = ["{host}"]\n' for role in ("store", "database", "mlflow", "proxy"))


def test_of_several_named_stacks_the_option_that_knows_names_is_told(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.toml"
    inventory.write_text(f"[stacks.a.roles]\n{roles('10.0.0.1')}[stacks.b.roles]\n{roles('10.0.0.2')}")
    with pytest.raises(UsageError) as refused:
        one_stack(Options(inventory=str(inventory)))
    assert "here are 2: a, b" in refused.value.what
    assert refused.value.next == "add --stack NAME"
    assert one_stack(Options(inventory=str(inventory), names=("b",))).host.name == "10.0.0.2"


def test_of_several_hosts_the_option_for_a_host_is_told() -> None:
    with pytest.raises(UsageError) as refused:
        one_stack(Options(hosts=("10.0.0.1", "10.0.0.2"), default_inventory=False))
    assert refused.value.next == "add --host HOST"
