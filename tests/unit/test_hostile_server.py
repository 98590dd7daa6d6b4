"""A server, or somebody in between, that means no good: bounded memory and time, plain words, nothing executed."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fake_sshd
import paramiko
import pytest

from provisioner.transport.sudo import READY

MEMORY = 400 * 2**20
"""Bytes that the command may take at most; what it keeps of an answer is 64 MiB."""
BLOCK = b"A" * 32768
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31m\u202eevil\x9b31m\r"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str
    memory: int


@dataclass
class Caller:
    """Somebody who knows the server's address and has a key."""

    folder: Path
    heard: list[bytes] = field(default_factory=list)

    @property
    def key(self) -> Path:
        path = self.folder / "id"
        return path if path.exists() else fake_sshd.client_key(self.folder)

    def plan(self, port: int, *arguments: str) -> Ended:
        environment = {
            **os.environ,
            "HOME": str(self.folder),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "SSH_AUTH_SOCK": "",
        }
        out, err = self.folder / "out", self.folder / "err"
        argv = [sys.executable, "-m", "provisioner", "plan", "--host", f"root@127.0.0.1:{port}", "-i", str(self.key)]
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [*argv, *arguments], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment,
                cwd=self.folder,
            )  # fmt: skip
            timer = threading.Timer(120, process.kill)
            timer.start()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            timer.cancel()
        return Ended(process.returncode, out.read_text("utf-8"), err.read_text("utf-8"), usage.ru_maxrss * 1024)


@pytest.fixture
def caller(tmp_path: Path) -> Caller:
    return Caller(tmp_path)


@pytest.fixture(scope="module")
def host_key() -> paramiko.PKey:
    return fake_sshd.key("ed25519")


def plain(ended: Ended) -> bool:
    text = ended.out + ended.err
    return (
        "Traceback" not in text
        and all(c.isprintable() or c == "\n" for c in text)
        and len(re.findall(r"^what ", ended.err, re.M)) == 1
    )


@dataclass
class Flood:
    """Sends to one of the streams until nobody takes it any more, a GB at most."""

    stream: str
    ready: bool
    sent: int = 0

    def __call__(self, channel: paramiko.Channel, command: bytes) -> None:
        if self.ready:
            channel.sendall_stderr(READY)
        channel.settimeout(20)
        send = channel.sendall if self.stream == "stdout" else channel.sendall_stderr
        while self.sent < 2**30:
            send(BLOCK)
            self.sent += len(BLOCK)


@pytest.mark.parametrize(
    ("stream", "ready"), [("stdout", True), ("stderr", True), ("stderr", False), ("stdout", False)]
)
def test_a_server_that_never_stops_talking_is_given_up(
    caller: Caller, host_key: paramiko.PKey, stream: str, ready: bool
) -> None:
    flood = Flood(stream, ready)
    with fake_sshd.sshd(flood, host_key) as port:
        ended = caller.plan(port)
    assert ended.code == 1, ended.err
    assert "more than 64 MiB" in ended.err
    assert plain(ended)
    assert ended.memory < MEMORY
    assert flood.sent < 2**28


def test_what_a_server_says_reaches_the_terminal_as_words_only(caller: Caller, host_key: paramiko.PKey) -> None:
    def refuse(channel: paramiko.Channel, command: bytes) -> None:
        channel.sendall_stderr(f"{ESCAPES} this account is closed {ESCAPES}\n".encode())
        channel.send_exit_status(1)

    with fake_sshd.sshd(refuse, host_key, banner="evil\x1b[2J") as port:
        ended = caller.plan(port)
        as_json = caller.plan(port, "--json")
    assert ended.code == 3, ended.err
    assert "this account is closed" in ended.err
    assert plain(ended)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", as_json.out)


def script_of(channel: paramiko.Channel) -> bytes:
    got = b""
    channel.settimeout(20)
    while piece := channel.recv(65536):
        got += piece
    return got


def frame(mark: bytes, kind: str, key: str, data: bytes, length: int | None = None) -> bytes:
    told = len(data) if length is None else length
    return b"\n" + mark + f" {kind} {key} 0 {told}\n".encode() + data


FORGED = {
    "nothing but the end": lambda mark, kinds: frame(mark, "end", "-", b""),
    "a length that never comes": lambda mark, kinds: frame(mark, "probe", kinds[0], b"x", 2**24),
    "a length beyond every limit": lambda mark, kinds: frame(mark, "probe", kinds[0], b"x", 9999999999),
    "another run's mark": lambda mark, kinds: frame(b"0" * 32, "end", "-", b""),
    "noise for every look": lambda mark, kinds: (
        b"".join(frame(mark, "probe", kind, b"\x1b[2J\0|=:" * 50) for kind in kinds) + frame(mark, "end", "-", b"")
    ),
    "nothing for every look": lambda mark, kinds: (
        b"".join(frame(mark, "probe", kind, b"") for kind in kinds) + frame(mark, "end", "-", b"")
    ),
    "escapes for every look": lambda mark, kinds: (
        b"".join(frame(mark, "stderr", kind, ESCAPES.encode() * 99) for kind in kinds)
        + b"".join(frame(mark, "probe", kind, ESCAPES.encode()) for kind in kinds)
        + frame(mark, "end", "-", b"")
    ),
}


@pytest.mark.parametrize("how", FORGED)
def test_answers_that_a_server_makes_up_are_refused_in_words(caller: Caller, host_key: paramiko.PKey, how: str) -> None:
    """It has read the script, so that it knows the mark: only what stands in the frames can still be checked."""

    def answer(channel: paramiko.Channel, command: bytes) -> None:
        channel.sendall_stderr(READY)
        script = script_of(channel)
        found = re.search(rb"^B=([0-9a-f]{32})$", script, re.MULTILINE)
        assert found
        kinds = [kind.decode() for kind in re.findall(rb"frame probe ([a-z0-9-]+) ", script)]
        assert "facts" in kinds
        channel.sendall(FORGED[how](found[1], kinds))
        channel.send_exit_status(0)

    with fake_sshd.sshd(answer, host_key) as port:
        ended = caller.plan(port)
    assert ended.code in {1, 3, 4}, ended.err
    assert plain(ended)
    assert ended.memory < MEMORY


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_another_key_than_the_known_one_stops_everything(caller: Caller, host_key: paramiko.PKey, kind: str) -> None:
    """The second is also what an attacker without the known key would try: offer one of another kind as new."""
    commands: list[bytes] = []

    def listen(channel: paramiko.Channel, command: bytes) -> None:
        commands.append(command)

    with fake_sshd.sshd(listen, host_key) as port:
        caller.plan(port)
    assert commands, "the first key was recorded and used"
    commands.clear()
    with fake_sshd.sshd(listen, fake_sshd.key(kind), port=port) as same:
        assert same == port
        ended = caller.plan(port)
    assert ended.code == 3, ended.err
    assert "forget-key" in ended.err
    assert plain(ended)
    assert commands == []


@contextmanager
def tcp(words: bytes, times: int) -> Iterator[int]:
    """A server that says `words` so often on every connection, then waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    with suppress(OSError):
                        for _ in range(times):
                            sock.sendall(words)
                        sock.shutdown(socket.SHUT_WR)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


OLD: dict[str, tuple[bytes, int]] = {
    "the first protocol": (b"SSH-1.5-OpenSSH_1.2\r\n", 1),
    "no protocol": (b"HTTP/1.1 400 Bad Request\r\n\r\n" + ESCAPES.encode() + b"\r\n", 1),
    "words without end": (BLOCK, 1024),
    "lines without end": (b"welcome\r\n" * 4096, 512),
    "noise after the greeting": (b"SSH-2.0-x\r\n" + bytes(range(256)) * 256, 4),
}


@pytest.mark.parametrize("how", OLD)
def test_what_is_no_ssh_of_today_is_left_alone(caller: Caller, how: str) -> None:
    begun = time.monotonic()
    with tcp(*OLD[how]) as port:
        ended = caller.plan(port)
    assert ended.code == 3, ended.err
    assert plain(ended)
    assert ended.memory < MEMORY
    assert time.monotonic() - begun < 100


def test_a_server_that_offers_only_broken_ciphers_is_refused(caller: Caller, host_key: paramiko.PKey) -> None:
    def weaken(transport: Any) -> None:
        transport._preferred_kex = ("diffie-hellman-group1-sha1",)
        transport._preferred_macs = ("hmac-md5",)

    reached: list[bytes] = []
    with fake_sshd.sshd(lambda channel, command: reached.append(command), host_key, prepare=weaken) as port:
        ended = caller.plan(port)
    assert ended.code == 3, ended.err
    assert plain(ended)
    assert reached == []
