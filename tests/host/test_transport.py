"""The transport over real SSH: two disposable hosts, classic sudo and sudo-rs, OpenSSH 9.2 and 10."""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provisioner.errors import Exit, ProtocolError, ProvisionError, Unreachable
from provisioner.lab import hosts, identity
from provisioner.lab.host import LabHost
from provisioner.secrets import Secret
from provisioner.transport import keystore
from provisioner.transport.fabric import ConnectOptions, FabricSession, connect
from provisioner.transport.target import parse_target

pytestmark = pytest.mark.host

OPEN, TIGHT = "10.151.0.20", "10.151.0.21"
PASSWORD = Secret("pä'ss \"w$(id)%d\\n" + secrets.token_hex(4))


@pytest.fixture(scope="module")
def openhost() -> Iterator[LabHost]:
    """Debian 12, classic sudo. `ops` has a password, `free` needs none, `plain` has no rights."""
    user = hosts.SudoUser("ops", PASSWORD, nopasswd=False)
    with hosts.running("transport-open", OPEN, sudo_user=user, host_key_types=("ed25519", "rsa")) as host:
        host.check(
            """for user in free plain; do
              useradd -m -s /bin/sh "$user"; mkdir -m 700 "/home/$user/.ssh"
              cp /root/.ssh/authorized_keys "/home/$user/.ssh/"; chown -R "$user:" "/home/$user/.ssh"
            done
            echo 'free ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/free; chmod 440 /etc/sudoers.d/free"""
        )
        yield host


@pytest.fixture(scope="module")
def tighthost() -> Iterator[LabHost]:
    """Debian 13 with sudo-rs, no forwarding, three sessions per connection."""
    user = hosts.SudoUser("ops", PASSWORD, nopasswd=False)
    lines = ("AllowTcpForwarding no", "MaxSessions 3")
    with hosts.running("transport-tight", TIGHT, suite="trixie", variant="sudo-rs", sudo_user=user, sshd=lines) as host:
        yield host


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person who runs the tests is read or written."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def options(**more: object) -> ConnectOptions:
    return ConnectOptions(**{"identity": identity.PRIVATE_KEY, **more})  # type: ignore[arg-type]


@pytest.fixture
def session(openhost: LabHost) -> Iterator[FabricSession]:
    session = connect(parse_target(f"root@{OPEN}"), options())
    yield session
    session.close()


def user_session(text: str, **more: object) -> FabricSession:
    return connect(parse_target(text), options(**more))


def binary_script() -> tuple[bytes, bytes]:
    """A script whose here-document holds every byte a shell can carry, and what it must print."""
    body = bytes(byte for byte in range(1, 256) if byte not in b"\n") * 700
    return b"cat <<'END-OF-IT'\n" + body + b"\nEND-OF-IT\n", body + b"\n"


WAYS = [
    pytest.param(f"root@{OPEN}", {}, id="root"),
    pytest.param(f"free@{OPEN}", {}, id="sudo without password"),
    pytest.param(f"free@{OPEN}", {"password": PASSWORD}, id="password that is not needed"),
    pytest.param(f"ops@{OPEN}", {"password": PASSWORD}, id="classic sudo with password"),
    pytest.param(f"root@{TIGHT}", {"password": PASSWORD}, id="root with a password"),
    pytest.param(f"ops@{TIGHT}", {"password": PASSWORD}, id="sudo-rs with password"),
]


@pytest.mark.parametrize(("text", "more"), WAYS)
def test_a_script_runs_as_root_byte_for_byte(
    openhost: LabHost, tighthost: LabHost, text: str, more: dict[str, object]
) -> None:
    session = user_session(text, **more)
    try:
        script, wanted = binary_script()
        result = session.run(b"id -u\necho oops >&2\n" + script + b"exit 7")
        assert result.stdout == b"0\n" + wanted
        assert result.stderr.strip() == b"oops"
        assert result.status == 7
        tiny = session.run(b"echo tiny")
        assert tiny.stdout == b"tiny\n"
        assert (session.connections, session.channels) == (1, 2)
    finally:
        session.close()


@pytest.mark.parametrize(("text", "more"), WAYS)
def test_a_held_script_gets_heartbeats_and_ends_with_its_channel(
    openhost: LabHost, tighthost: LabHost, text: str, more: dict[str, object]
) -> None:
    session = user_session(text, **more)
    try:
        flag = f"/run/held-{secrets.token_hex(4)}"
        held = session.hold(
            f"touch {flag}; id -u; echo started; while read -r beat; do echo beat; done; rm {flag}".encode()
        )
        assert held.read_line(10) == "0"
        assert held.read_line(10) == "started"
        assert held.alive
        assert held.read_line(0.2) is None
        assert held.read_line(8) == "beat"
        held.release()
        assert not held.alive
        gone = session.run(f"for i in 1 2 3 4 5 6 7 8 9; do [ -e {flag} ] || exit 0; sleep 0.1; done; exit 1".encode())
        assert gone.status == 0
    finally:
        session.close()


def test_nothing_secret_is_in_argv_or_left_on_disk(openhost: LabHost) -> None:
    session = user_session(f"ops@{OPEN}", password=PASSWORD)
    try:
        result = session.run(b"cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'; : marker-in-the-script")
        text = result.stdout.decode("utf-8", "replace")
        assert PASSWORD.reveal() not in text
        assert "marker-in-the-script" not in text
        assert "sudo" in text
    finally:
        session.close()
    left = openhost.check("sleep 0.3; ls -d /tmp/tmp.* 2>/dev/null; pgrep -u ops -l cat; true")
    assert left == ""


def test_unprivileged_scripts_run_as_the_login_user(openhost: LabHost) -> None:
    session = user_session(f"ops@{OPEN}", password=PASSWORD)
    try:
        assert session.run(b"id -un", privileged=False).stdout == b"ops\n"
    finally:
        session.close()


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        (f"ops@{OPEN}", {}, "needs a password"),
        (f"ops@{OPEN}", {"password": Secret("wrong")}, "does not accept the password"),
        (f"ops@{TIGHT}", {}, "needs a password"),
        (f"ops@{TIGHT}", {"password": Secret("wrong")}, "does not accept the password"),
        (f"ops@{OPEN}", {"sudo": "none"}, "is not root"),
    ],
)
def test_a_refused_sudo_is_one_clear_error_and_is_not_asked_again(
    openhost: LabHost, tighthost: LabHost, text: str, more: dict[str, object], words: str
) -> None:
    session = user_session(text, **more)
    try:
        started = time.monotonic()
        with pytest.raises(Unreachable, match=words) as failure:
            session.run(b"echo " + b"x" * 300_000)
        assert failure.value.exit == Exit.UNREACHABLE
        assert failure.value.next
        assert "wrong" not in f"{failure.value.what}{failure.value.why}{failure.value.detail}"
        assert time.monotonic() - started < 6
        channels = session.channels
        with pytest.raises(Unreachable, match=words):
            session.run(b"echo again")
        assert session.channels == channels
    finally:
        session.close()
    host = openhost if OPEN in text else tighthost
    assert host.exec("sleep 0.2; pgrep -u ops -l -x 'cat|sh|sudo'; ls -d /tmp/tmp.*").stdout == ""


def test_a_user_without_rights_and_requiretty_are_told_apart(openhost: LabHost) -> None:
    openhost.check("echo plain:secret1 | chpasswd")
    session = user_session(f"plain@{OPEN}", password=Secret("secret1"))
    try:
        with pytest.raises(Unreachable, match="may not become root"):
            session.run(b"id")
    finally:
        session.close()
    openhost.check("echo 'Defaults:free requiretty' >/etc/sudoers.d/tty; chmod 440 /etc/sudoers.d/tty")
    session = user_session(f"free@{OPEN}")
    try:
        with pytest.raises(Unreachable, match="wants a terminal"):
            session.run(b"id")
    finally:
        session.close()
        openhost.check("rm /etc/sudoers.d/tty")


def test_an_account_without_a_shell_is_named(openhost: LabHost) -> None:
    openhost.check("usermod -s /usr/sbin/nologin plain")
    session = user_session(f"plain@{OPEN}")
    try:
        with pytest.raises(Unreachable, match="no shell") as failure:
            session.run(b"id")
        assert "not available" in failure.value.detail
    finally:
        session.close()
        openhost.check("usermod -s /bin/sh plain")


def test_a_login_shell_that_talks_does_not_disturb(openhost: LabHost) -> None:
    openhost.check("usermod -s /bin/bash free; echo 'echo HELLO; echo hello >&2' >/home/free/.bashrc")
    session = user_session(f"free@{OPEN}")
    try:
        result = session.run(b"echo data")
        assert result.stdout.endswith(b"data\n")
        assert result.stderr == b""
    finally:
        session.close()
        openhost.check("rm /home/free/.bashrc")


# host keys


def test_a_new_key_is_recorded_and_a_changed_one_is_refused_until_forgotten(openhost: LabHost) -> None:
    first = user_session(f"root@{OPEN}")
    first.close()
    assert first.new_host_key
    assert first.fingerprint in openhost.check("for f in /etc/ssh/*.pub; do ssh-keygen -lf $f; done")
    assert oct(keystore.store_path().stat().st_mode)[-3:] == "600"
    again = user_session(f"root@{OPEN}")
    again.close()
    assert not again.new_host_key
    store = keystore.store_path()
    name, kind, _ = store.read_text().split()
    store.write_text(f"{name} {kind} AAAAC3NzaC1lZDI1NTE5AAAAIE9wZW5TU0ggaXMgbm90IG9wZW4gaGVyZSwgaXMgaXQh\n")
    with pytest.raises(Unreachable, match="has changed") as failure:
        user_session(f"root@{OPEN}")
    assert f"provision forget-key root@{OPEN}" in failure.value.next
    assert keystore.forget([OPEN])
    user_session(f"root@{OPEN}").close()


def test_the_users_known_hosts_counts_and_is_never_written(openhost: LabHost, tmp_path: Path) -> None:
    ssh = tmp_path / ".ssh"
    ssh.mkdir(mode=0o700)
    known = ssh / "known_hosts"
    rsa = next(key for key in openhost.host_keys() if key.startswith("ssh-rsa"))
    known.write_text(f"{OPEN} {rsa}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    known.write_text("@cert-authority * ssh-rsa AAAA\nnonsense\n" + known.read_text())
    assert OPEN not in known.read_text()
    before = known.read_bytes()
    session = user_session(f"root@{OPEN}")
    session.close()
    assert not session.new_host_key
    assert session.connection.transport.host_key_type.startswith("rsa-sha2")
    assert not keystore.store_path().exists()
    assert known.read_bytes() == before
    known.write_text(f"@revoked * {rsa}\n{OPEN} {rsa}\n")
    with pytest.raises(Unreachable, match="revoked"):
        user_session(f"root@{OPEN}", pin=session.fingerprint)


def test_a_pin_decides_alone(openhost: LabHost) -> None:
    session = user_session(f"root@{OPEN}")
    session.close()
    pinned = user_session(f"root@{OPEN}", pin=session.fingerprint)
    pinned.close()
    with pytest.raises(Unreachable, match="pinned") as failure:
        user_session(f"root@{OPEN}", pin="SHA256:" + "A" * 43)
    assert session.fingerprint in failure.value.next


def test_a_jump_host_is_checked_like_the_host_behind_it(openhost: LabHost, tighthost: LabHost) -> None:
    session = user_session(f"root@{TIGHT}", jump=f"root@{OPEN}")
    assert session.run(b"hostname").stdout == b"transport-tight\n"
    assert (session.jumped, session.connections, session.address) == (True, 1, TIGHT)
    session.close()
    assert {line.split()[0] for line in keystore.store_path().read_text().splitlines()} == {OPEN, TIGHT}
    store = keystore.store_path()
    store.write_text(
        store.read_text().replace(
            f"{OPEN} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", f"{OPEN} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAJ"
        )
    )
    with pytest.raises(Unreachable, match="has changed") as failure:
        user_session(f"root@{TIGHT}", jump=f"root@{OPEN}")
    assert OPEN in failure.value.what
    assert keystore.forget([OPEN])
    with pytest.raises(Unreachable, match="cannot be reached through") as failure:
        user_session(f"root@{OPEN}", jump=f"root@{TIGHT}")
    assert "forbids forwarding" in failure.value.why


def test_ssh_configuration_leads_to_the_host(openhost: LabHost, tighthost: LabHost, tmp_path: Path) -> None:
    ssh = tmp_path / ".ssh"
    (ssh / "conf.d").mkdir(parents=True, mode=0o700)
    (ssh / "config").write_text("Include conf.d/*\nHost *\n  ConnectTimeout 5\n")
    (ssh / "conf.d" / "lab").write_text(
        f"Host inner\n  HostName {TIGHT}\n  User root\n  ProxyJump gate\n  IdentityFile {identity.PRIVATE_KEY}\n"
        f"Host gate\n  HostName {OPEN}\n  User free\n  IdentityFile {identity.PRIVATE_KEY}\n"
    )
    session = connect(parse_target("inner"), ConnectOptions())
    assert session.run(b"id -un; hostname").stdout == b"root\ntransport-tight\n"
    assert session.host == "inner"
    session.close()


# failures to connect


def test_each_way_to_fail_has_its_own_message(openhost: LabHost, tmp_path: Path) -> None:
    def failing(text: str, **more: object) -> Unreachable:
        with pytest.raises(Unreachable) as failure:
            user_session(text, **more)
        assert failure.value.exit == Exit.UNREACHABLE
        assert failure.value.next
        return failure.value

    assert "no address" in failing("root@no-such-name.invalid").what
    assert "refuses connections" in failing(f"root@{OPEN}:2").what
    quiet = failing("root@10.151.0.29", connect_timeout=1.0)
    assert "does not answer" in quiet.what or "no route" in quiet.what
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    refused = failing(f"root@{OPEN}", identity=other)
    assert "does not let root in" in refused.what
    assert str(other) in refused.why
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "sesame", "-f", locked], check=True)
    assert "passphrase" in failing(f"root@{OPEN}", identity=locked).what
    assert "does not open" in failing(f"root@{OPEN}", identity=locked, on_prompt=lambda _: Secret("no")).what
    opened = failing(f"root@{OPEN}", identity=locked, on_prompt=lambda _: Secret("sesame"))
    assert "does not let root in" in opened.what
    assert "does not exist" in failing(f"root@{OPEN}", identity=tmp_path / "none").what
    other.chmod(0o644)
    assert "open to others" in failing(f"root@{OPEN}", identity=other).what
    assert "not a private key" in failing(f"root@{OPEN}", identity=_written(tmp_path / "text", "hello")).what
    assert "no key to log in" in failing(f"root@{OPEN}", identity=None).what


def test_a_port_that_is_not_ssh_is_named(openhost: LabHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            for _ in range(1):
                peer, _ = server.accept()
                peer.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(Unreachable, match="closed the connection before saying who it is"):
            user_session(f"root@127.0.0.1:{port}")


def test_an_agent_with_too_many_keys_is_named_and_a_named_key_helps(openhost: LabHost, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", agent], stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if agent.exists():
                break
            time.sleep(0.02)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
        for number in range(8):
            key = tmp_path / f"key{number}"
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
            subprocess.run(["ssh-add", "-q", key], check=True, env=environment)
        os.environ["SSH_AUTH_SOCK"] = str(agent)
        with pytest.raises(Unreachable, match="hung up after"):
            user_session(f"root@{OPEN}", identity=None)
        user_session(f"root@{OPEN}").close()
    finally:
        os.environ.pop("SSH_AUTH_SOCK", None)
        process.terminate()
        process.wait(5)


def test_a_login_shell_that_never_answers_is_named(openhost: LabHost) -> None:
    openhost.check("usermod -s /bin/bash free; echo 'sleep 30' >/home/free/.bashrc")
    session = user_session(f"free@{OPEN}")
    try:
        with pytest.raises(Unreachable, match=r"login shell .* does not answer"):
            session.run(b"echo data", timeout=1.0)
    finally:
        session.close()
        openhost.check("rm /home/free/.bashrc")


def test_a_link_that_is_cut_is_noticed(tighthost: LabHost) -> None:
    session = user_session(f"root@{TIGHT}")
    held = session.hold(b"echo held; while read -r beat; do :; done")
    assert held.read_line(10) == "held"
    started = time.monotonic()
    try:
        with pytest.raises(Unreachable, match="was lost"):
            tighthost.check("ip link set host0 down") or session.run(b"sleep 100", timeout=60)
        assert time.monotonic() - started < 35
        assert not held.alive
    finally:
        tighthost.check("ip link set host0 up")
        held.release()
        session.close()


# channels


def test_twelve_scripts_at_once_wait_for_sshds_ten_slots(session: FabricSession) -> None:
    held = session.hold(b"echo held; cat")
    assert held.read_line(10) == "held"
    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(lambda n: session.run(f"sleep 0.5; echo {n}".encode()), range(12)))
    assert [int(result.stdout) for result in results] == list(range(12))
    assert session.channels == 13
    held.release()


def test_three_sessions_are_enough(tighthost: LabHost) -> None:
    session = user_session(f"root@{TIGHT}")
    held = session.hold(b"echo held; cat")
    assert held.read_line(10) == "held"
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: session.run(f"sleep 0.1; echo {n}".encode()), range(8)))
    assert [int(result.stdout) for result in results] == list(range(8))
    held.release()
    session.close()


def test_too_much_output_is_refused_with_bounded_memory(session: FabricSession) -> None:
    started = time.monotonic()
    with pytest.raises(ProtocolError, match="sent more than 4 MiB"):
        session.run(b"exec head -c 1000000000 /dev/zero", limit=4 * 2**20)
    assert time.monotonic() - started < 10
    with pytest.raises(ProtocolError, match="sent more than 4 MiB"):
        session.run(b"exec yes >&2", limit=4 * 2**20)
    noisy = session.run(b"echo still here; yes | head -c 5000000 >&2; echo end >&2")
    assert noisy.stdout == b"still here\n"
    assert noisy.stderr.endswith(b"end\n")
    assert len(noisy.stderr) <= 64 * 2**10


def test_silence_gives_the_channel_up(session: FabricSession) -> None:
    with pytest.raises(ProvisionError, match="no output"):
        session.run(b"echo x; sleep 30", timeout=1.0)
    chatty = session.run(b"for i in 1 2 3 4 5 6; do echo $i; sleep 0.4; done", timeout=1.0)
    assert chatty.status == 0


def test_output_is_seen_while_it_comes(session: FabricSession) -> None:
    seen: list[tuple[float, bytes]] = []
    session.run(b"echo one; sleep 0.5; echo two", on_output=lambda data: seen.append((time.monotonic(), data)))
    assert [data for _, data in seen] == [b"one\n", b"two\n"]
    assert seen[1][0] - seen[0][0] > 0.3


def test_a_left_behind_process_does_not_hold_the_call(session: FabricSession) -> None:
    started = time.monotonic()
    result = session.run(b"sleep 20 & echo done")
    assert (result.stdout, result.status) == (b"done\n", 0)
    assert time.monotonic() - started < 5


def test_an_sshd_killed_in_the_middle_is_a_lost_connection(openhost: LabHost, session: FabricSession) -> None:
    pid = session.run(b"ps -o ppid= -p $PPID").stdout.decode().strip() or "0"
    threading.Timer(0.5, lambda: openhost.exec("pkill -KILL -f 'sshd: root@notty'")).start()
    assert int(pid) > 1
    with pytest.raises(Unreachable, match="was lost"):
        session.run(b"sleep 30")
    with pytest.raises(Unreachable, match="was lost"):
        session.run(b"echo again")


def test_a_script_cut_short_does_nothing(session: FabricSession, openhost: LabHost) -> None:
    from provisioner.transport import sudo

    flag = f"/run/cut-{secrets.token_hex(4)}"
    channel = session._channels.start(sudo.run_command(sudo.Way.ROOT))
    channel.sendall(sudo.wrapped(f"touch {flag}\nrm -rf /srv/data/tmp".encode())[:-22])
    channel.shutdown_write()
    assert channel.recv_exit_status() != 0
    session._channels.finish(channel)
    assert openhost.exec(f"test -e {flag}").rc == 1


# blobs and ports


def test_a_blob_arrives_whole_and_private(openhost: LabHost) -> None:
    session = user_session(f"free@{OPEN}")
    blob = random.Random(1).randbytes(20_000_001)
    digest = hashlib.sha256(blob).hexdigest()
    steps: list[tuple[int, int]] = []
    path = session.put(blob, sha256=digest, on_progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (len(blob), len(blob))
    told = openhost.check(f"sha256sum {path}; stat -c '%a %U' {path} {Path(path).parent}").split()
    assert told[0] == digest
    assert told[2:] == ["600", "free", "700", "free"]
    with pytest.raises(ProvisionError, match="not the one"):
        session.put(blob, sha256="0" * 64)
    assert session.channels == 2
    session.close()
    assert openhost.check("ls -d /var/tmp/provision.*").split() == [str(Path(path).parent)]
    openhost.check("rm -rf /var/tmp/provision.*")


@pytest.mark.parametrize(("text", "relayed"), [(f"root@{OPEN}", 0), (f"root@{TIGHT}", 1)])
def test_a_port_is_forwarded_or_relayed(openhost: LabHost, tighthost: LabHost, text: str, relayed: int) -> None:
    session = user_session(text)
    payload = random.Random(2).randbytes(3_000_000)
    host = openhost if not relayed else tighthost
    host.check(
        "setsid python3 -c 'import socketserver as s\nclass H(s.StreamRequestHandler):\n"
        " def handle(self):\n  self.wfile.write(self.rfile.read()[::-1])\n"
        's.ThreadingTCPServer.allow_reuse_address=True\ns.ThreadingTCPServer(("127.0.0.1",5432),H).serve_forever()\''
        " >/dev/null 2>&1 & sleep 0.5"
    )
    with session.forward(5432) as path:
        assert path.name == ".s.PGSQL.5432"
        assert oct(path.parent.stat().st_mode)[-3:] == "700"
        for count in (1, 2):
            assert _echo(path, payload) == payload[::-1]
            assert session.channels == relayed * count
    assert not path.parent.exists()
    with session.forward(1) as path:
        assert _echo(path, b"x") == b""
    session.close()


def test_without_python_bash_relays(tighthost: LabHost) -> None:
    session = user_session(f"root@{TIGHT}")
    python = tighthost.check("command -v python3").strip()
    tighthost.check(f"mv {python} {python}.away")
    try:
        with session.forward(22) as path, socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(str(path))
            assert peer.recv(4) == b"SSH-"
    finally:
        tighthost.check(f"mv {python}.away {python}")
        session.close()


def _echo(path: Path, payload: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(20)
        peer.connect(str(path))

        def send() -> None:
            try:
                peer.sendall(payload)
                peer.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        writer = threading.Thread(target=send)
        writer.start()
        got = bytearray()
        try:
            while data := peer.recv(65536):
                got += data
        except ConnectionError:
            pass
        writer.join(5)
    return bytes(got)


def _written(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path
