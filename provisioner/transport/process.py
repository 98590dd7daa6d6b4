"""The same `Session` without SSH: scripts go to a shell on this machine. Base of `local` and `fake`."""

from __future__ import annotations

import hashlib
import os
import queue
import selectors
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from provisioner.errors import ProvisionError
from provisioner.transport import failures, forward, sudo
from provisioner.transport.base import Held, Result
from provisioner.transport.exchange import CHUNK, Stderr, too_much
from provisioner.transport.held import HEARTBEAT
from provisioner.transport.sudo import Way


class ProcessSession:
    """A `Session` whose channels are local processes."""

    connections = 1
    fingerprint = ""
    new_host_key = False
    address = "127.0.0.1"
    jumped = False
    alive = True

    def __init__(self, host: str, way: Way, environment: Mapping[str, str] | None = None) -> None:
        self.host = host
        self.channels = 0
        self._way = way
        self._environment = None if environment is None else dict(environment)
        self._lock = threading.Lock()

    def run(
        self,
        script: bytes,
        *,
        privileged: bool = True,
        on_output: Callable[[bytes], None] | None = None,
        timeout: float = 60.0,
        limit: int = 64 * 2**20,
    ) -> Result:
        way = self._way if privileged else Way.LOGIN
        child = self._start(sudo.run_command(way))
        writer = threading.Thread(target=_feed, args=(child, sudo.wrapped(script)), daemon=True)
        writer.start()
        try:
            stdout, stderr = _read(child, self.host, on_output, timeout, limit)
        except BaseException:
            _kill(child)
            raise
        finally:
            _reap(child)
            writer.join(1.0)
        if not stderr.ready:
            raise self._refused(way, stderr.tail)
        return Result(stdout, stderr.tail, child.returncode if child.returncode >= 0 else None)

    def put(self, source: Path | bytes, *, sha256: str, on_progress: Callable[[int, int], None] | None = None) -> str:
        with self._lock:
            self.channels += 1
        data = source if isinstance(source, bytes) else source.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise ProvisionError(
                "the file is not the one that was asked for", why=f"its sha256 is {found}, not {sha256}"
            )
        path = Path(tempfile.mkdtemp(prefix="provision.")) / "blob"
        path.touch(mode=0o600)
        path.write_bytes(data)
        if on_progress is not None:
            on_progress(len(data), len(data))
        return str(path)

    def hold(self, script: bytes) -> Held:
        payload = sudo.held(script)
        child = self._start(sudo.hold_command(self._way, len(payload)))
        return ProcessHeld(child, payload, lambda said: self._refused(self._way, said))

    def forward(self, port: int, host: str = "127.0.0.1") -> AbstractContextManager[Path]:
        def opener() -> tuple[forward.Stream, Callable[[], None]]:
            far = socket.create_connection((host, port), timeout=15)
            far.settimeout(None)
            return far, far.close

        return forward.forwarded(opener, port)

    def forwards(self, port: int) -> bool:
        return True

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _start(self, command: str) -> subprocess.Popen[bytes]:
        with self._lock:
            self.channels += 1
        return subprocess.Popen(
            ("sh", "-c", command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )

    def _refused(self, way: Way, said: bytes) -> ProvisionError:
        if way in (Way.LOGIN, Way.ROOT):
            return failures.not_a_shell(self.host, said)
        return failures.not_root(self.host, os.environ.get("USER", "this user"), said, password=False)


class ProcessHeld:
    """`Held` over a local process; see there."""

    def __init__(
        self, child: subprocess.Popen[bytes], payload: bytes, refused: Callable[[bytes], ProvisionError]
    ) -> None:
        self._child = child
        self._lines: queue.Queue[str | None] = queue.Queue(maxsize=1000)
        self._stderr = Stderr()
        self._released = threading.Event()
        ready = threading.Event()
        assert child.stdin is not None
        child.stdin.write(payload)
        child.stdin.flush()
        threading.Thread(target=self._read_errors, args=(ready,), daemon=True).start()
        threading.Thread(target=self._read_lines, daemon=True).start()
        ready.wait(30)
        if not self._stderr.ready:
            self.release()
            raise refused(self._stderr.tail)
        threading.Thread(target=self._beat, daemon=True).start()

    def read_line(self, timeout: float) -> str | None:
        try:
            line = self._lines.get(timeout=max(timeout, 0.001))
        except queue.Empty:
            return None
        if line is None:
            self._lines.put(None)
        return line

    @property
    def alive(self) -> bool:
        return not self._released.is_set() and self._child.poll() is None

    @property
    def stderr(self) -> bytes:
        return self._stderr.tail

    def release(self) -> None:
        if self._released.is_set():
            return
        self._released.set()
        with suppress(OSError):
            if self._child.stdin is not None:
                self._child.stdin.close()
        try:
            self._child.wait(2)
        except subprocess.TimeoutExpired:
            _kill(self._child)
            self._child.wait(2)

    def _read_lines(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.put(line.decode("utf-8", "replace").rstrip("\n"))
        self._lines.put(None)

    def _read_errors(self, ready: threading.Event) -> None:
        assert self._child.stderr is not None
        while data := os.read(self._child.stderr.fileno(), CHUNK):
            self._stderr.feed(data)
            if self._stderr.ready:
                ready.set()
        ready.set()

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT):
            try:
                assert self._child.stdin is not None
                self._child.stdin.write(b"\n")
                self._child.stdin.flush()
            except (OSError, ValueError):
                return


def _feed(child: subprocess.Popen[bytes], payload: bytes) -> None:
    assert child.stdin is not None
    with suppress(OSError, ValueError):
        child.stdin.write(payload)
        child.stdin.close()


def _read(
    child: subprocess.Popen[bytes],
    host: str,
    on_output: Callable[[bytes], None] | None,
    timeout: float,
    limit: int,
) -> tuple[bytes, Stderr]:
    stdout, stderr = bytearray(), Stderr()
    assert child.stdout is not None
    assert child.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        selector.register(child.stderr, selectors.EVENT_READ)
        heard = time.monotonic()
        while selector.get_map():
            events = selector.select(max(heard + timeout - time.monotonic(), 0))
            if not events:
                raise failures.went_silent(host, timeout)
            heard = time.monotonic()
            for key, _ in events:
                data = os.read(key.fd, CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is child.stderr:
                    stderr.feed(data)
                    if stderr.length > limit:
                        raise too_much(host, limit)
                else:
                    stdout += data
                    if len(stdout) > limit:
                        raise too_much(host, limit)
                    if on_output is not None:
                        on_output(data)
    return bytes(stdout), stderr


def _kill(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _reap(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        _kill(child)
        child.wait(5)
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
