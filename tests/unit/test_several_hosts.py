"""Commands on a stack of several hosts, of which one may be new, away, or not the one that clients use."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner import controller, record, vault
from provisioner.commands import ahead, secrets, verify, view
from provisioner.commands.meeting import Meeting, Team
from provisioner.commands.options import Options, select
from provisioner.commands.view import NoStack
from provisioner.errors import Refused
from provisioner.inventory import HostRequest, Part, StackRequest
from provisioner.secrets import Secret
from provisioner.settings import effective, with_topology
from provisioner.topology import Member, Topology

PARTS = (
    Part(HostRequest("p", "192.0.2.1"), ("proxy",)),
    Part(HostRequest("b", "192.0.2.2"), ("store", "database", "mlflow")),
)
STACK = StackRequest("192.0.2.1", PARTS[0].host, parts=PARTS)


@pytest.fixture(autouse=True)
def _state(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def _on(monkeypatch: Any, hosts: dict[str, vault.Vault | None]) -> None:
    def looked(connection: str, request: StackRequest) -> Any:
        kept = hosts[request.host.name]
        if kept is None:
            raise NoStack(f"{request.host.name} carries no stack of this tool")
        return SimpleNamespace(secrets=SimpleNamespace(vault=kept))

    monkeypatch.setattr(secrets, "session", lambda request, options: nullcontext(request.host.name))
    monkeypatch.setattr(secrets, "look_at_record", looked)


@pytest.mark.parametrize("new", ["p", "b"])
def test_a_host_that_was_rebuilt_hides_no_secret_of_the_others(new: str, monkeypatch: Any) -> None:
    known = vault.Vault("x", {"login": vault.Entry(Secret("a" * 24), 3)})
    _on(monkeypatch, {"p": known, "b": known, new: None})
    assert secrets._document(STACK, Options()).entries == known.entries
    assert secrets._document(STACK, Options(), empty=True).entries == known.entries


def test_without_a_host_that_has_any_there_are_no_secrets(monkeypatch: Any) -> None:
    _on(monkeypatch, {"p": None, "b": None})
    with pytest.raises(NoStack):
        secrets._document(STACK, Options())
    assert secrets._document(STACK, Options(), empty=True).entries == {}
    vault.write_controller(vault.Vault("192.0.2.1", {"login": vault.Entry(Secret("a" * 24), 3)}))
    assert set(secrets._document(STACK, Options()).entries) == {"login"}


def test_a_secret_that_no_host_has_is_told_as_what_it_is() -> None:
    one, other = (view._Kept({name: Secret("a" * 24)}, "p", "provision") for name in ("login", "store.user.key"))
    found = one.with_more(other)
    assert set(found) == {"login", "store.user.key"}
    with pytest.raises(Refused, match=r"the secret tls\.root is neither on p nor on this machine"):
        found["tls.root"]


def test_the_login_is_shown_ahead_to_the_urls_host_only() -> None:
    members = tuple(Member(part.host.name, part.host.address, part.roles) for part in PARTS)
    settings = with_topology(effective({}, {}), Topology(members))
    controller.remember_record(STACK.id, record.dump_recorded(settings, STACK.id))
    vault.write_controller(vault.Vault(STACK.id, {"login": vault.Entry(Secret("a" * 24), 1)}))
    session: Any = SimpleNamespace(address="192.0.2.1")
    target = ahead._remembered(session, STACK, "")
    assert target is not None
    assert target.url == "http://192.0.2.1:5000"
    session = SimpleNamespace(address="192.0.2.2")
    assert ahead._remembered(session, replace(STACK, host=PARTS[1].host), "") is None


def test_commands_to_paste_choose_the_same_hosts_with_the_same_key() -> None:
    host = replace(PARTS[0].host, identity="/k/my key")
    one = replace(STACK, host=host, file="prod.toml", selected=("b",))
    assert select(one) == "--host b -i '/k/my key' --inventory prod.toml"
    assert select(one.whole) == "-i '/k/my key' --inventory prod.toml"
    assert select(replace(one.whole, name="x")) == "--stack x -i '/k/my key' --inventory prod.toml"
    assert select(STACK) == ""


def test_a_proof_without_a_host_is_refused_with_the_command_for_all_of_them() -> None:
    members = tuple(Member(part.host.name, part.host.address, part.roles) for part in PARTS)
    settings = with_topology(effective({}, {}), Topology(members))
    seen: Any = SimpleNamespace(settings=settings, request=replace(STACK, file="prod.toml", selected=("p",)))
    team = Team(Meeting("p"), "p", {"p": SimpleNamespace()})  # type: ignore[dict-item]
    with pytest.raises(Refused, match="without b") as caught:
        verify.whole(team, seen)
    assert caught.value.next == "provision verify --inventory prod.toml"
