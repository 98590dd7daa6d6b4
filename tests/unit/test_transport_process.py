"""The protocol without SSH: what every session does with a script."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from paramiko.ssh_exception import ChannelException

from provisioner.errors import ProtocolError, ProvisionError, Unreachable
from provisioner.transport import failures, forward, sudo
from provisioner.transport.base import Held, Result, Session
from provisioner.transport.exchange import Stderr
from provisioner.transport.fake import FakeSession
from provisioner.transport.sudo import READY, Way

SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]


def shell(folder: Path, name: str, command: str, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run `command` with `name` as the sh that is found first, and the stand-ins in `folder`."""
    link = folder / "sh"
    if not link.is_symlink():
        link.symlink_to(shutil.which(name) or "")
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": str(folder)}
    return subprocess.run([link, "-c", command], input=stdin, capture_output=True, timeout=20, env=environment)


def test_a_fake_is_a_session() -> None:
    session: Session = FakeSession()
    result = session.run(b"echo out; echo err >&2; exit 4")
    assert result == Result(b"out\n", b"err\n", 4)
    assert (session.connections, session.channels) == (1, 1)


def test_a_fake_can_answer_for_the_host() -> None:
    session = FakeSession(answer=lambda script: Result(b"no", b"", 1) if b"secret" in script else None)
    assert session.run(b": secret").stdout == b"no"
    assert session.run(b"echo yes").stdout == b"yes\n"
    assert session.scripts == [b": secret", b"echo yes"]


def test_limits_and_silence_end_a_script() -> None:
    session = FakeSession()
    with pytest.raises(ProtocolError):
        session.run(b"exec cat /dev/zero", limit=10_000)
    with pytest.raises(ProtocolError):
        session.run(b"exec cat /dev/zero >&2", limit=10_000)
    with pytest.raises(ProvisionError, match="no output"):
        session.run(b"exec sleep 20", timeout=0.2)


def test_a_held_script_answers_and_ends() -> None:
    held: Held = FakeSession().hold(b"echo one; cat; echo two")
    assert held.read_line(5) == "one"
    assert held.alive
    held.release()
    assert not held.alive


def test_a_blob_is_stored_private_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = Path(FakeSession().put(b"blob", sha256=hashlib.sha256(b"blob").hexdigest()))
    assert path.read_bytes() == b"blob"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ProvisionError):
        FakeSession().put(b"blob", sha256="0" * 64)


def test_a_forwarded_port_is_a_socket_libpq_finds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def echo() -> None:
            peer, _ = server.accept()
            with peer:
                while data := peer.recv(4096):
                    peer.sendall(data.upper())

        threading.Thread(target=echo, daemon=True).start()
        with FakeSession().forward(port) as path, socket.socket(socket.AF_UNIX) as peer:
            assert path.name == f".s.PGSQL.{port}"
            peer.settimeout(5)
            peer.connect(str(path))
            peer.sendall(b"hello")
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(100) == b"HELLO"
            assert peer.recv(100) == b""
        assert not path.parent.exists()


@pytest.mark.parametrize(("code", "allowed"), [(None, True), (1, False), (2, True)])
def test_only_a_prohibition_means_that_sshd_does_not_forward(code: int | None, allowed: bool) -> None:
    asked: list[tuple[Any, ...]] = []

    class Transport:
        def open_channel(self, *arguments: Any, **options: Any) -> Any:
            asked.append(arguments)
            if code is not None:
                raise ChannelException(code, "no")
            return SimpleNamespace(close=lambda: asked.append(("closed",)))

    assert forward.permitted(Transport(), 9000) is allowed
    assert asked[0][:2] == ("direct-tcpip", ("127.0.0.1", 9000))
    assert (("closed",) in asked) is (code is None)


@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize("way", [Way.LOGIN, Way.ROOT])
def test_a_script_runs_whole_or_not_at_all_in_every_shell(name: str, way: Way, tmp_path: Path) -> None:
    script = b"# comment first\nread -r x || echo 'stdin is empty'\ncat <<'E'\nbody\nE\nexit 3 # comment last"
    command, payload = sudo.run_command(way), sudo.wrapped(script)
    done = shell(tmp_path, name, command, payload)
    assert (done.stdout, done.returncode) == (b"stdin is empty\nbody\n", 3)
    assert done.stderr == READY
    # Cut anywhere before the closing brace.
    for end in range(5, payload.rindex(b"}"), 9):
        assert shell(tmp_path, name, command, payload[:end]).stdout == b"", payload[:end]


# busybox prefers its own id to a stand-in.
@pytest.mark.parametrize("name", [name for name in SHELLS if name != "busybox"])
@pytest.mark.parametrize("kind", ["sudo", "sudo-rs"])
def test_the_password_form_keeps_password_and_script_apart(name: str, kind: str, tmp_path: Path) -> None:
    stand_in(tmp_path, "id", "echo 1000")
    # A sudo that reads its whole stdin, as sudo-rs may, and takes only one password.
    stand_in(
        tmp_path,
        "sudo",
        f"""[ "$1" = -V ] && {{ echo {kind} 1.0; exit; }}
        word=$(head -n 1; cat >/dev/null); [ "$word" = 'p w"$x' ] || {{ echo 'Sorry, try again.' >&2; exit 1; }}
        while [ "$1" != -- ]; do shift; done; shift; exec "$@" """,
    )
    command = sudo.run_command(Way.PASSWORD)
    done = shell(tmp_path, name, command, b'p w"$x\n' + sudo.wrapped(b"echo ran; exit 5"))
    assert (done.stdout, done.returncode) == (b"ran\n", 5)
    assert READY in done.stderr
    wrong = shell(tmp_path, name, command, b"wrong\n" + sudo.wrapped(b"echo ran" + b"x" * 200_000))
    assert wrong.stdout == b""
    assert READY not in wrong.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["id", "sh", "sudo"]


def stand_in(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_no_command_line_holds_a_script_or_a_quote_that_breaks() -> None:
    for way in Way:
        for command in (sudo.run_command(way), sudo.hold_command(way, 12)):
            assert command.startswith("exec sh -c ")
            assert "\n" not in command


def test_what_was_said_before_the_shell_was_ready_is_dropped() -> None:
    errors = Stderr()
    errors.feed(b"lecture\n" + READY[:5])
    assert not errors.ready
    errors.feed(READY[5:] + b"real")
    assert (errors.ready, errors.tail) == (True, b"real")
    errors.feed(b"x" * 500_000 + b"end")
    assert len(errors.tail) <= 64 * 2**10
    assert errors.tail.endswith(b"end")


@pytest.mark.parametrize(
    ("said", "password", "words"),
    [
        ("sudo: a password is required", False, "needs a password"),
        ("sudo: interactive authentication is required", False, "needs a password"),
        ("sudo-rs: interactive authentication is required", False, "needs a password"),
        ("Sorry, try again.\nsudo: no password was provided\nsudo: 1 incorrect password attempt", True, "not accept"),
        ("sudo: Authentication failed, try again.\nsudo-rs: Maximum 3 incorrect", True, "not accept"),
        ("u is not in the sudoers file.", True, "may not become root"),
        ("Sorry, user u may not run sudo on h.", False, "may not become root"),
        ("sudo-rs: I'm sorry u. I'm afraid I can't do that", True, "may not become root"),
        ("Sorry, user u is not allowed to execute '/usr/bin/sh' as root on h.", True, "may not become root"),
        ("sudo: sorry, you must have a tty to run sudo", False, "wants a terminal"),
        ("env: 'sudo': No such file or directory", False, "sudo is not installed"),
        ("sh: 1: sudo: not found", True, "sudo is not installed"),
        ("sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set", False, "does not work"),
        ("sudo: Account or password is expired, reset your password and try again", True, "refuses the account"),
        ("provision: not root", False, "is not root"),
        ("This account is currently not available.", False, "no shell"),
    ],
)
def test_every_refusal_of_sudo_has_its_own_words(said: str, password: bool, words: str) -> None:
    failure = failures.not_root("h", "u", said.encode(), password=password)
    assert isinstance(failure, Unreachable)
    assert words in failure.what
    assert failure.why
    assert failure.next
