from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from provisioner import audit, controller, record
from provisioner.audit import Event
from provisioner.errors import Refused, UsageError
from provisioner.secrets import Secret
from provisioner.settings import Installed, effective, with_installed

NOW = datetime(2026, 11, 21, 14, 25, 10, 123456, UTC)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def _event(reason: str = "absent", when: datetime = NOW) -> Event:
    return Event(when, "h", "10.0.0.1", "apply", "minio", "unit:minio.service", "create", reason, seconds=0.41234)


def test_a_line_is_one_json_object() -> None:
    text = audit.line(_event())
    assert text.count("\n") == 1
    assert json.loads(text) == {
        "schema": 1,
        "time": "2026-11-21T14:25:10.123Z",
        "stack": "h",
        "host": "10.0.0.1",
        "command": "apply",
        "step": "minio",
        "resource": "unit:minio.service",
        "action": "create",
        "reason": "absent",
        "result": "ok",
        "seconds": 0.412,
        "operator": "",
    }


def test_times_are_utc_whatever_the_clock_says() -> None:
    berlin = NOW.astimezone(timezone(timedelta(hours=1)))
    assert json.loads(audit.line(_event(when=berlin)))["time"].endswith("14:25:10.123Z")


def test_secrets_are_masked_and_control_characters_cannot_forge_a_line() -> None:
    Secret("hunter2-hunter2")
    text = audit.line(_event("was hunter2-hunter2\n{}\x1b[2J\u2028é" + "x" * 10_000))
    assert "hunter2" not in text
    assert text.isascii()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert len(text) < 2000


def test_lines_are_appended_to_a_private_file() -> None:
    audit.append("h", [_event(), _event("edited")])
    audit.append("h", [])
    audit.append("h", [_event("again")])
    log = audit.path("h")
    reasons = [json.loads(line)["reason"] for line in log.read_text().splitlines()]
    assert reasons == ["absent", "edited", "again"]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert audit.host_lines([_event()]) == audit.line(_event())


def test_a_long_log_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_ROTATE", 10)
    audit.append("h", [_event()])
    audit.append("h", [_event()])
    assert len(audit.path("h").read_text().splitlines()) == 1
    assert audit.path("h").with_name("audit.jsonl.1").is_file()


# --- what the operator's machine remembers besides


def test_a_local_binary_is_hashed_once_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "minio"
    file.write_bytes(b"\x7fELF one")
    first = controller.local_file(str(file), "h")
    assert controller.binary_hint("h") == str(file)
    assert controller.binary_hint("other") is None
    monkeypatch.setattr(controller.hashlib, "file_digest", None)
    assert controller.local_file(str(file), "h") == first
    monkeypatch.undo()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file.write_bytes(b"\x7fELF two")
    assert controller.local_file(str(file), "h").sha256 != first.sha256
    file.unlink()
    assert controller.binary_hint("h") is None


def test_a_binary_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("missing", "empty", "."):
        with pytest.raises(UsageError):
            controller.local_file(str(tmp_path / name), "h")


def test_a_damaged_hint_only_costs_a_hash(tmp_path: Path) -> None:
    file = tmp_path / "minio"
    file.write_bytes(b"x")
    controller.local_file(str(file), "h")
    (tmp_path / "state" / "provision" / "h" / "binary.json").write_text("[[[")
    assert controller.binary_hint("h") is None
    assert controller.local_file(str(file), "h").size == 1


def test_a_rebuilt_host_finds_its_settings_on_the_operators_machine() -> None:
    assert controller.recall_record("h") is None
    settings = with_installed(effective({"mlflow.workers": 7}, {}), Installed("file", "a" * 64))
    controller.remember_record("h", record.dump_recorded(settings, "h"))
    recalled = controller.recall_record("h")
    assert recalled is not None
    assert effective({}, {}, recalled) == settings


def test_a_damaged_copy_is_named_with_its_own_path(tmp_path: Path) -> None:
    controller.remember_record("h", "schema = 1\n[store]\nengine = 5\n")
    with pytest.raises(Refused) as caught:
        controller.recall_record("h")
    assert str(tmp_path / "state" / "provision" / "h" / "stack.toml") in caught.value.what
