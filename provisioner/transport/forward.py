"""A Unix socket here whose connections end at a port there."""

from __future__ import annotations

import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from provisioner.errors import UsageError
from provisioner.transport.target import parse_target

if TYPE_CHECKING:
    from paramiko.channel import Channel

    from provisioner.transport.base import Session
    from provisioner.transport.channels import Channels

_CHUNK = 32 * 2**10
_OPEN_TIMEOUT = 15.0
_PROHIBITED = 1
"""SSH_OPEN_ADMINISTRATIVELY_PROHIBITED (RFC 4254, 5.1)."""

# Where sshd forbids forwarding, an exec channel carries the bytes. python3 is part of every Ubuntu
# and Debian server; bash's /dev/tcp is what minimal ones have.
_RELAY_PYTHON = """\
import os,socket,sys,threading
s=socket.create_connection((sys.argv[1],int(sys.argv[2])),15)
s.settimeout(None)
os.write(2,b"provision: relay ready\\n")
def up():
    while True:
        d=os.read(0,65536)
        if not d: break
        s.sendall(d)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=up,daemon=True).start()
while True:
    d=s.recv(65536)
    if not d: break
    while d: d=d[os.write(1,d):]
"""
_RELAY_BASH = (
    'exec 3<>"/dev/tcp/$1/$2" || exit 1; echo "provision: relay ready" >&2; cat <&3 & reader=$!; cat >&3; wait $reader'
)
_RELAY = (
    f'if command -v python3 >/dev/null 2>&1; then exec python3 -c {shlex.quote(_RELAY_PYTHON)} "$1" "$2"; '
    f'elif command -v bash >/dev/null 2>&1; then exec bash -c {shlex.quote(_RELAY_BASH)} bash "$1" "$2"; '
    'else echo "neither python3 nor bash is there" >&2; exit 127; fi'
)


class Stream(Protocol):
    """What a channel and a socket have in common."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


def permitted(transport: Any, port: int) -> bool:
    """Whether sshd allows a stream to `port` of its own loopback, whether or not something listens there."""
    from paramiko.ssh_exception import ChannelException, SSHException

    try:
        transport.open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0), timeout=_OPEN_TIMEOUT).close()
    except ChannelException as error:
        return error.code != _PROHIBITED
    except (SSHException, EOFError):
        pass  # what is wrong with the connection, whoever uses it next will say
    return True


class Tunnel:
    """Opens one stream per connection: direct-tcpip, and a relay once sshd refused that."""

    def __init__(self, transport: Any, channels: Channels, host: str, port: int) -> None:
        parse_target(f"[{host}]" if ":" in host else host)
        if not 0 < port < 65536:
            raise UsageError(f"{port} is not a port")
        self._transport, self._channels, self._host, self._port = transport, channels, host, port
        self._relayed = False

    def __call__(self) -> tuple[Stream, Callable[[], None]]:
        """A stream to the far port and what ends it; raises OSError when there is none."""
        from paramiko.ssh_exception import ChannelException, SSHException

        if not self._relayed:
            try:
                channel = self._transport.open_channel(
                    "direct-tcpip", (self._host, self._port), ("127.0.0.1", 0), timeout=_OPEN_TIMEOUT
                )
                return channel, channel.close
            except ChannelException as error:
                # Else nothing listens there: a relay would not help.
                if error.code != _PROHIBITED:
                    raise ConnectionRefusedError(str(error)) from error
                self._relayed = True
            except (SSHException, EOFError) as error:
                raise ConnectionError(str(error)) from error
        return self._relay()

    def _relay(self) -> tuple[Stream, Callable[[], None]]:
        command = f"exec sh -c {shlex.quote(_RELAY)} sh {shlex.quote(self._host)} {self._port}"
        channel: Channel = self._channels.start(command)
        return channel, lambda: self._channels.finish(channel)


@contextmanager
def forwarded(opener: Callable[[], tuple[Stream, Callable[[], None]]], port: int) -> Iterator[Path]:
    """A listening Unix socket `.s.PGSQL.<port>` in a fresh 0700 directory; each connection made to it
    is pumped to what `opener` gives. Everything ends with the context."""
    import shutil
    import tempfile

    # A short directory: the name of a Unix socket has 108 bytes at most, and TMPDIR may be long.
    directory = Path(tempfile.mkdtemp(prefix="provision-"))
    path = directory / f".s.PGSQL.{port}"
    if len(bytes(path)) > 100:
        shutil.rmtree(directory, ignore_errors=True)
        directory = Path(tempfile.mkdtemp(prefix="provision-", dir="/tmp"))
        path = directory / f".s.PGSQL.{port}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        with served(listener, opener):
            yield path
    finally:
        listener.close()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def local_port(session: Session, port: int, host: str, room: int) -> Iterator[int]:
    """A port of this machine's loopback that leads to host:port as seen from the server. Each of its connections
    ends after `room` bytes of answers."""
    with (
        session.forward(port, host) as path,
        socket.create_server(("127.0.0.1", 0)) as listener,
        served(listener, lambda: _bounded(path, room)),
    ):
        yield listener.getsockname()[1]


def joined(path: Path) -> tuple[socket.socket, Callable[[], None]]:
    """A connection to the Unix socket, and what ends it."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(str(path))
    except BaseException:
        sock.close()
        raise

    def end() -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    return sock, end


class _Bounded:
    """A stream that ends after `room` bytes of what it receives."""

    def __init__(self, stream: Stream, room: int) -> None:
        self.sendall, self.shutdown, self.close = stream.sendall, stream.shutdown, stream.close
        self._stream, self._room = stream, room

    def recv(self, size: int, /) -> bytes:
        data = self._stream.recv(size) if self._room > 0 else b""
        self._room -= len(data)
        return data


def _bounded(path: Path, room: int) -> tuple[Stream, Callable[[], None]]:
    sock, end = joined(path)
    return _Bounded(sock, room), end


@contextmanager
def served(listener: socket.socket, opener: Callable[[], tuple[Stream, Callable[[], None]]]) -> Iterator[None]:
    """Each connection made to the bound `listener` is pumped to what `opener` gives, until the context ends."""
    ends: list[Callable[[], None]] = []
    listener.listen(16)
    threading.Thread(target=_accept, args=(listener, opener, ends), name="provision-forward", daemon=True).start()
    try:
        yield
    finally:
        # shutdown wakes the thread in accept(); close alone does not.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for end in list(ends):
            with suppress(Exception):
                end()


def _accept(
    listener: socket.socket, opener: Callable[[], tuple[Stream, Callable[[], None]]], ends: list[Callable[[], None]]
) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(near, opener, ends), name="provision-pump", daemon=True).start()


def _serve(
    near: socket.socket, opener: Callable[[], tuple[Stream, Callable[[], None]]], ends: list[Callable[[], None]]
) -> None:
    try:
        far, end = opener()
    except Exception:
        # Whoever connected sees the end of the stream, as with ssh -L.
        near.close()
        return
    done = threading.Lock()

    def finish() -> None:
        if done.acquire(blocking=False):
            with suppress(Exception):
                end()
            with suppress(OSError):
                near.shutdown(socket.SHUT_RDWR)
            near.close()

    ends.append(finish)
    up = threading.Thread(target=_pump, args=(near, far), name="provision-up", daemon=True)
    up.start()
    _pump(far, near)
    finish()
    up.join()
    ends.remove(finish)


def _pump(source: Stream, sink: Stream) -> None:
    try:
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    except (OSError, EOFError):
        pass
    with suppress(OSError, EOFError):
        sink.shutdown(socket.SHUT_WR)
