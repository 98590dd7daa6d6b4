"""A command of the user's own on this machine: no shell, no terminal, bounded time and output."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from provisioner.secrets import Secret

_SAID = 4096
"""Bytes at the end of stderr that are kept."""
_DRAIN = 0.2
"""Seconds for which a process that has ended may still have something in its pipes: a daemon that it left behind
can hold them open for ever."""
_SPARE = 32
"""Reads of 64 KiB after that time: more than a pipe holds."""


class Trouble(Exception):
    """`how` it failed, in words that follow the command ("ended with exit code 1"); `said` is the end of its stderr."""

    def __init__(self, how: str, said: bytes = b""):
        super().__init__(how)
        self.how = how
        self.said = said.decode("utf-8", "replace")


def output(words: Sequence[str], folder: Path, *, seconds: float, room: int, without: Sequence[str] = ()) -> bytes:
    """stdout of a command that is run in `folder`, in this environment `without` some variables.

    What it prints counts as secret, so that `masked` takes it out of its stderr. Raises Trouble where it cannot
    start, fails, takes over `seconds` or prints over `room` bytes."""
    env = {name: value for name, value in os.environ.items() if name not in without}
    with _started(words, folder, env, subprocess.DEVNULL) as child:
        printed, said = _read(child, time.monotonic() + seconds, seconds, room)
    for line in printed.decode("utf-8", "replace").splitlines():
        Secret(line)
    if child.returncode:
        ended = f"exit code {child.returncode}" if child.returncode > 0 else f"signal {-child.returncode}"
        raise Trouble(f"ended with {ended}", said)
    return printed


def talk(
    words: Sequence[str],
    folder: Path,
    *,
    env: Mapping[str, str],
    script: Path,
    seconds: float,
    room: int,
    on_line: Callable[[bytes], None],
) -> tuple[int, str]:
    """A command that reads `script` on stdin; each whole line of its stdout goes to `on_line` when it comes. Gives
    its exit code (negative: a signal's number) and the end of its stderr. Raises Trouble as `output` does, but not
    for an exit code."""
    rest = bytearray()

    def take(data: bytes) -> None:
        rest.extend(data)
        *lines, last = bytes(rest).split(b"\n")
        rest[:] = last
        for line in lines:
            on_line(line)

    with script.open("rb") as source, _started(words, folder, env, source.fileno()) as child:
        _, said = _read(child, time.monotonic() + seconds, seconds, room, take)
    return child.returncode, said.decode("utf-8", "replace")


@contextmanager
def _started(
    words: Sequence[str], folder: Path, env: Mapping[str, str], stdin: int
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not there any more afterwards, nor what it started."""
    try:
        # A session of its own: nothing in it can ask on the terminal, and all of it is ended together.
        child = subprocess.Popen(
            list(words),
            cwd=folder,
            env=dict(env),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise Trouble(f"cannot start ({getattr(error, 'strerror', None) or error})") from None
    try:
        yield child
    finally:
        if child.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def _read(
    child: subprocess.Popen[bytes],
    end: float,
    seconds: float,
    room: int,
    on_output: Callable[[bytes], None] = lambda data: None,
) -> tuple[bytes, bytes]:
    """stdout and the end of stderr, of a command that has ended by then."""
    printed, said = bytearray(), bytearray()
    assert child.stdout is not None
    assert child.stderr is not None
    with selectors.DefaultSelector() as waiting:
        waiting.register(child.stdout, selectors.EVENT_READ, printed)
        waiting.register(child.stderr, selectors.EVENT_READ, said)
        last: float | None = None
        spare = _SPARE
        while waiting.get_map():
            now = time.monotonic()
            if last is None and child.poll() is not None:
                last = now + _DRAIN
            if now > end:
                raise Trouble(f"took over {seconds:.0f} s", bytes(said))
            ready = waiting.select(0.05)
            if last is not None and now > last:
                # On a busy machine the time passes before what it said last was read; a daemon may write for ever.
                spare -= 1
                if not ready or spare < 0:
                    break
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                if not data:
                    waiting.unregister(key.fileobj)
                key.data.extend(data)
                if key.data is printed and len(printed) <= room:
                    on_output(data)
            del said[:-_SAID]
            if len(printed) > room:
                raise Trouble(f"printed over {room // 1024} KiB")
    while child.poll() is None:
        if time.monotonic() > end:
            raise Trouble(f"took over {seconds:.0f} s", bytes(said))
        time.sleep(0.02)
    return bytes(printed), bytes(said)
