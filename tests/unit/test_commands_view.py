"""What a look at a host decides: execs, settings, secrets, and why a run refuses before it changes anything."""

from __future__ import annotations

import dataclasses
from typing import Any

import model
import pytest
from model import ModelHost, request

from provisioner import controller, record, vault
from provisioner.commands.view import View, look, look_at_record
from provisioner.errors import Refused, UsageError
from provisioner.secrets import Secret
from provisioner.settings import RECORD
from provisioner.vault import Entry

SEAWEED = {"store.engine": "seaweedfs"}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> ModelHost:
    made = ModelHost()
    model.install(monkeypatch, made)
    return made


def seen(host: ModelHost, flags: dict[str, Any] | None = None, *chosen: str, **options: Any) -> View:
    return look(host, request(flags), chosen, **options)  # type: ignore[arg-type]


def made(host: ModelHost, **flags: Any) -> View:
    """The stack on `host`, and what its operator remembers."""
    view = seen(host, {**SEAWEED, **flags})
    vault.write_controller(view.secrets.vault)
    host.make(view.plan.changes)
    controller.remember_record("192.0.2.10", record.dump_recorded(view.settings, "192.0.2.10"))
    return view


def test_a_host_that_is_as_it_is_remembered_takes_one_exec(host: ModelHost) -> None:
    made(host)
    host.channels = 0
    view = seen(host)
    assert (view.looks, host.channels) == (1, 1)
    assert view.plan.changes == ()


def test_a_host_whose_record_names_other_settings_than_this_machine_remembers_takes_two(host: ModelHost) -> None:
    view = made(host)
    moved = dataclasses.replace(view.settings, store=dataclasses.replace(view.settings.store, data="/srv/store"))
    host.write(RECORD, record.dump_recorded(moved, "192.0.2.10").encode())
    host.channels = 0
    view = seen(host)
    assert (view.looks, host.channels) == (2, 2)
    assert view.settings.store.data == "/srv/store"


def test_a_host_that_never_ends_to_change_is_given_up(host: ModelHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look brings settings that need another: no host can keep a run looking for ever."""
    from provisioner.commands import view as module
    from provisioner.errors import ProtocolError
    from provisioner.resources.paths import PathProbe

    numbers = iter(range(100))
    monkeypatch.setattr(module, "_probes", lambda *_: [PathProbe(f"/{next(numbers)}")])
    with pytest.raises(ProtocolError):
        seen(host, SEAWEED)
    assert host.channels == 4


def test_settings_come_from_flags_over_the_hosts_record_over_defaults(host: ModelHost) -> None:
    made(host, **{"mlflow.workers": 5, "access.port": 8080})
    view = seen(host, {"mlflow.workers": 3})
    assert (view.settings.mlflow.workers, view.settings.access.port) == (3, 8080)
    assert [change.id for change in view.plan.changes if change.step == "settings"] == ["file:stack.toml"]


def test_a_rebuilt_host_becomes_the_same_stack_from_what_this_machine_keeps(host: ModelHost, monkeypatch) -> None:
    before = made(host, **{"mlflow.workers": 5})
    empty = ModelHost()
    model.install(monkeypatch, empty)
    view = seen(empty)
    assert not view.exists
    assert view.settings == before.settings
    assert view.secrets.rebuilt
    assert view.secrets.generated == ()
    assert view.secrets.vault == before.secrets.vault


def test_one_step_alone_brings_its_own_changes_and_names_what_it_needs_besides(host: ModelHost) -> None:
    view = seen(host, SEAWEED, "bucket")
    assert {change.step for change in view.plan.changes} == {"settings", "bucket"}
    assert {change.step for change in view.needs.unmet} == {"seaweedfs"}
    with pytest.raises(UsageError):
        seen(host, SEAWEED, "minio")


def test_different_secrets_of_one_generation_stop_before_anything_is_changed(host: ModelHost) -> None:
    view = made(host)
    other = dict(view.secrets.vault.entries)
    other["login"] = Entry(Secret("fake-other-password"), other["login"].generation)
    vault.write_controller(dataclasses.replace(view.secrets.vault, entries=other))
    with pytest.raises(vault.Conflict) as error:
        seen(host)
    assert "login" in error.value.what
    assert "fake" not in error.value.what + error.value.why + error.value.next


@pytest.mark.parametrize("newer", ["host", "controller"])
def test_a_higher_generation_wins_whichever_side_has_it(host: ModelHost, newer: str) -> None:
    view = made(host)
    changed = vault.changed(view.secrets.vault, "login", Secret("fake-newer-password"))
    if newer == "host":
        host.write(vault.HOST_FILE, vault.serialise(changed).encode(), 0o600)
    else:
        vault.write_controller(changed)
    view = seen(host)
    assert view.secrets.vault["login"] == Secret("fake-newer-password")
    assert bool(view.secrets.to_controller) == (newer == "host")
    assert ("file:secrets.json" in [change.id for change in view.plan.changes]) == (newer == "controller")


@pytest.mark.parametrize("path", [RECORD, vault.HOST_FILE])
def test_a_record_that_cannot_be_read_is_refused_and_never_replaced_by_a_guess(host: ModelHost, path: str) -> None:
    made(host)
    host.write(path, b"\x00 not ours")
    with pytest.raises(Refused) as error:
        seen(host)
    assert path in error.value.what


def test_a_look_at_the_record_alone_is_one_exec_and_wants_nothing(host: ModelHost) -> None:
    made(host, **{"access.port": 8080})
    host.channels = 0
    view = look_at_record(host, request({"access.port": 1234}))  # type: ignore[arg-type]
    assert host.channels == 1
    assert view.context.door.port == 8080
    assert view.plan.changes == ()


def test_a_look_at_the_record_of_an_empty_host_says_that_there_is_no_stack(host: ModelHost) -> None:
    with pytest.raises(Refused) as error:
        look_at_record(host, request())  # type: ignore[arg-type]
    assert "no stack" in error.value.what
    assert "provision --host 192.0.2.10" in error.value.next


def test_a_secret_that_neither_side_has_is_told_and_not_made_up(host: ModelHost) -> None:
    view = made(host)
    entries = {name: entry for name, entry in view.secrets.vault.entries.items() if name != "login"}
    short = dataclasses.replace(view.secrets.vault, entries=entries)
    vault.write_controller(short)
    host.write(vault.HOST_FILE, vault.serialise(short).encode(), 0o600)
    found = look_at_record(host, request())  # type: ignore[arg-type]
    with pytest.raises(Refused, match="login"):
        found.context.secrets["login"]


def reasons(view: View) -> dict[str, str]:
    return {planned.id: planned.change.reason for planned in view.plan.changes}


def test_a_changed_setting_is_told_apart_from_a_changed_file(host: ModelHost) -> None:
    made(host)
    set_anew = reasons(seen(host, {"mlflow.workers": 5, "access.port": 8080}))
    for name in ("file:mlflow.env", "file:nginx-site", "file:stack.toml"):
        assert set_anew[name].endswith("; a setting was changed"), name
    path = "/etc/mlflow/mlflow.env"
    host.write(path, host.content(path).replace(b"MLFLOW_WORKERS=2", b"MLFLOW_WORKERS=9"), 0o600, age=7200)
    assert reasons(seen(host))["file:mlflow.env"] == "MLFLOW_WORKERS=9, wanted MLFLOW_WORKERS=2; last changed 2 h ago"
    both = reasons(seen(host, {"mlflow.workers": 5}))["file:mlflow.env"]
    assert both == "MLFLOW_WORKERS=9, wanted MLFLOW_WORKERS=5; last changed 2 h ago"


def test_a_client_is_told_what_the_services_run_with_not_what_the_next_run_brings(host: ModelHost) -> None:
    """A rotation that was killed leaves a newer value on this machine."""
    first = made(host)
    vault.write_controller(vault.changed(first.secrets.vault, "login", Secret("fake-newer-login")))
    told = look_at_record(host, request())  # type: ignore[arg-type]
    assert told.context.secrets["login"] == first.secrets.vault["login"]
    assert told.secrets.vault["login"] == Secret("fake-newer-login")
