"""known_hosts as OpenSSH writes it, and the tool's own store."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from provisioner.errors import Unreachable, UsageError
from provisioner.transport import failures, hostkeys, keystore
from provisioner.transport.hop import HostKeyCheck
from provisioner.transport.sshconfig import Endpoint

ED = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00 " + b"A" * 32
ED2 = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00 " + b"B" * 32
RSA = b"\x00\x00\x00\x07ssh-rsa" + b"C" * 40


def line(names: str, blob: bytes, kind: str = "ssh-ed25519", marker: str = "") -> str:
    return f"{marker} {names} {kind} {base64.b64encode(blob).decode()} comment".strip()


def judged(text: str, name: str, blob: bytes, tmp_path: Path) -> str:
    path = tmp_path / "known"
    path.write_text(text)
    return hostkeys.judge(hostkeys.about(hostkeys.read(path), name), blob)


def hashed(name: str) -> str:
    salt = b"s" * 20
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("text", "name", "blob", "verdict"),
    [
        ("", "h", ED, "new"),
        (line("h", ED), "h", ED, "known"),
        (line("H", ED), "h", ED, "known"),
        (line("h", ED), "h", ED2, "changed"),
        (line("h", ED) + "\n" + line("h", ED2), "h", ED2, "known"),
        (line("other", ED), "h", ED, "new"),
        (line("h,10.0.0.1", ED), "10.0.0.1", ED, "known"),
        (line("*.example.org,!bad.example.org", ED), "good.example.org", ED, "known"),
        (line("*.example.org,!bad.example.org", ED), "bad.example.org", ED, "new"),
        (line("h?", ED), "h1", ED, "known"),
        (line("[h]:2222", ED), "[h]:2222", ED, "known"),
        (line("[h]:2222", ED), "h", ED, "new"),
        (line("h", ED), "[h]:2222", ED, "new"),
        (line(hashed("[h]:2222"), ED), "[h]:2222", ED, "known"),
        (line(hashed("h"), ED), "h", ED2, "changed"),
        (line("|1|nonsense", ED), "h", ED, "new"),
        (line("h", RSA, "ssh-rsa"), "h", ED, "changed"),
        (line("h", ED, marker="@cert-authority"), "h", ED2, "new"),
        (line("*", ED, marker="@revoked"), "h", ED, "revoked"),
        (line("h", ED) + "\n" + line("*", ED, marker="@revoked"), "h", ED, "revoked"),
        (line("*", ED, marker="@revoked"), "h", ED2, "new"),
        (line("h", ED, marker="@unknown"), "h", ED2, "new"),
        ("# comment\n\ngarbage\nh ssh-ed25519 !!!\nh\n\xff\xfe\n" + line("h", ED), "h", ED, "known"),
    ],
)
def test_lines_are_judged_as_openssh_does(text: str, name: str, blob: bytes, verdict: str, tmp_path: Path) -> None:
    assert judged(text, name, blob, tmp_path) == verdict


def test_known_types_are_asked_for_first() -> None:
    entry = hostkeys.Entry("h", "ssh-rsa", RSA, "f")
    assert hostkeys.preferred([entry], ("ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256")) == [
        "rsa-sha2-512",
        "rsa-sha2-256",
        "ssh-ed25519",
    ]


def test_a_fingerprint_is_as_ssh_keygen_prints_it() -> None:
    assert hostkeys.PIN.fullmatch(hostkeys.fingerprint(ED))
    assert hostkeys.checked_pin(hostkeys.fingerprint(ED) + "=") == hostkeys.fingerprint(ED)
    with pytest.raises(UsageError):
        hostkeys.checked_pin("SHA256:short")


def test_the_first_key_is_recorded_and_another_one_is_not(tmp_path: Path) -> None:
    store = tmp_path / "state" / "known_hosts"
    assert keystore.record("[h]:2222", "ssh-ed25519", ED, store) == "new"
    assert keystore.record("[h]:2222", "ssh-ed25519", ED, store) == "known"
    assert keystore.record("[h]:2222", "ssh-ed25519", ED2, store) == "changed"
    assert store.stat().st_mode & 0o777 == 0o600
    assert store.parent.stat().st_mode & 0o777 == 0o700
    assert len(store.read_text().splitlines()) == 1


def test_forgetting_removes_that_host_only_and_keeps_foreign_lines(tmp_path: Path) -> None:
    store = tmp_path / "known_hosts"
    keystore.record("a", "ssh-ed25519", ED, store)
    keystore.record("[a]:2222", "ssh-ed25519", ED2, store)
    store.write_text("# mine\n" + store.read_text())
    assert keystore.forget(["a"], store) == [hostkeys.fingerprint(ED)]
    assert keystore.forget(["a"], store) == []
    assert store.read_text().splitlines()[0] == "# mine"
    assert "[a]:2222" in store.read_text()
    assert keystore.forget(["x"], tmp_path / "none") == []


def test_many_hosts_met_at_once_are_all_recorded(tmp_path: Path) -> None:
    store = tmp_path / "known_hosts"
    threads = [threading.Thread(target=keystore.record, args=(f"h{n}", "ssh-ed25519", ED, store)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hostkeys.read(store)) == 24


def test_a_store_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable) as failure:
        keystore.record("h", "ssh-ed25519", ED, tmp_path / "file" / "known_hosts")
    assert "XDG_STATE_HOME" in failure.value.next


def test_the_store_follows_xdg_and_ignores_a_relative_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert keystore.store_path() == tmp_path / ".local/state/provision/known_hosts"
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert keystore.store_path() == Path("/x/provision/known_hosts")


@pytest.mark.parametrize(
    ("text", "port", "said"),
    [
        ("root@10.151.0.1", 22, "root@10.151.0.1"),
        ("10.151.0.1", 2222, "10.151.0.1:2222"),
        ("root@10.151.0.1:2222", 2222, "root@10.151.0.1:2222"),
        ("fd00::1", 2222, "[fd00::1]:2222"),
        ("[fd00::1]:2222", 2222, "[fd00::1]:2222"),
    ],
)
def test_a_changed_key_names_the_command_that_finds_it_again(text: str, port: int, said: str) -> None:
    endpoint = Endpoint(text, "10.151.0.1", port, "root")
    assert f"provision forget-key {said}\n" in f"{failures.key_changed(endpoint, 'x', b'', [], '').next}\n"
    assert f"provision forget-key {said})" in failures.pin_differs(endpoint, "a", "b").next


def test_a_key_that_is_recorded_is_told_once_whatever_comes_after(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    told: list[tuple[str, str]] = []
    key = SimpleNamespace(asbytes=lambda: ED, get_name=lambda: "ssh-ed25519")
    for _ in range(2):
        endpoint = Endpoint("bastion", "10.151.0.1", 22, "root", key_name="10.151.0.1")
        check = HostKeyCheck(endpoint, None, lambda *shown: told.append(shown))
        check.missing_host_key(None, "", key)  # type: ignore[arg-type]
    assert told == [("bastion", hostkeys.fingerprint(ED))]
