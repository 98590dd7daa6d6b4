"""The common options: before the command, after it, or both; and the password that no child shall see."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner import cli_options
from provisioner.cli import main, program
from provisioner.errors import UsageError


def merged(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    empty = dict.fromkeys(("host", "set_", "identity", "json", "verbose"))
    context: Any = SimpleNamespace(obj=empty | before)
    return cli_options._merged(context, empty | after)


def test_options_count_on_both_sides_of_the_command_and_lists_add_up() -> None:
    found = merged({"host": ["a"], "json": True, "verbose": 1}, {"host": ["b"], "verbose": 1, "identity": "k"})
    assert (found["host"], found["json"], found["verbose"], found["identity"]) == (["a", "b"], True, 2, "k")


def test_what_stands_after_the_command_wins() -> None:
    assert merged({"identity": "a"}, {"identity": "b"})["identity"] == "b"


def test_sudo_s_password_is_taken_out_of_the_environment_and_never_shown(monkeypatch) -> None:
    monkeypatch.setenv("PROVISION_SUDO_PASSWORD", "correct horse")
    password = cli_options._sudo_password(False)
    assert password.reveal() == "correct horse"
    assert "horse" not in repr(password)
    assert "PROVISION_SUDO_PASSWORD" not in os.environ


@pytest.mark.parametrize("arguments", [["--nonsense"], ["frobnicate"], ["plan", "--ssh-port", "x"]])
def test_every_usage_error_is_64(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 64
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("what")


def test_every_command_takes_every_common_option() -> None:
    root: Any = program()
    wanted = {"host", "inventory", "ssh_user", "ssh_port", "identity", "ask_sudo_password", "set_", "json", "quiet"}
    wanted |= {"verbose", "yes", "verify_", "deep", "no_auth", "allow_public_http", "no_color"}
    commands = {**root.commands, **root.commands["secrets"].commands}
    del commands["secrets"]
    for name, command in commands.items():
        assert wanted <= {parameter.name for parameter in command.params}, name


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "secrets", "list"],
        ["secrets", "--json", "list"],
        ["secrets", "list", "--json"],
        ["--host", "h", "secrets", "-v", "--set", "a=1", "list", "--json"],
    ],
)
def test_options_stand_before_a_group_between_it_and_its_command_or_at_the_end(
    arguments: list[str], monkeypatch
) -> None:
    called: list[Any] = []
    monkeypatch.setattr("provisioner.commands.secrets.list_secrets", lambda options: called.append(options) or 0)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    (options,) = called
    assert options.json
    assert (options.hosts, options.verbose, options.sets) == (
        (("h",), 1, ("a=1",)) if "h" in arguments else ((), 0, ())
    )


def test_without_a_terminal_a_password_is_not_read_from_the_pipe(monkeypatch) -> None:
    def no_terminal(path: Any, mode: str) -> Any:
        raise OSError(6, "No such device or address")

    monkeypatch.setattr("pathlib.Path.open", no_terminal)
    monkeypatch.setattr("getpass.getpass", lambda prompt: pytest.fail("it was asked for"))
    with pytest.raises(UsageError) as error:
        cli_options._sudo_password(True)
    assert "PROVISION_SUDO_PASSWORD" in error.value.next


def test_an_interrupt_is_told_whatever_the_command(monkeypatch, capsys) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("provisioner.commands.env.env", interrupt)
    monkeypatch.setattr("provisioner.ending.leave", lambda code: None)
    with pytest.raises(SystemExit) as left:
        main(["env"])
    assert left.value.code == 130
    assert capsys.readouterr().err.startswith("what   provision: interrupted\nnext ")
