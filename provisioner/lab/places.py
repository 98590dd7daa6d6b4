"""Where the lab keeps things, and the locks that keep two users of one machine apart."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provisioner.errors import Locked

STATE = Path("/var/lib/provision-lab")
IMAGES = STATE / "images"
LAYERS = STATE / "layers"
HOSTS = STATE / "hosts"
SSH = STATE / "ssh"
CACHE = STATE / "cache"
LOCKS = STATE / "locks"


def prepare() -> None:
    """Create the state directory: root's alone, because it holds a private key and whole systems."""
    for directory in (STATE, IMAGES, LAYERS, HOSTS, SSH, CACHE, LOCKS):
        directory.mkdir(mode=0o700, exist_ok=True, parents=True)


@contextmanager
def locked(name: str, *, seconds: float = 600.0) -> Iterator[int]:
    """Hold the machine-wide lock `name`; the kernel frees it when the process dies, however it dies.

    Yields the lock's descriptor: a child that inherits it holds the lock for as long as it lives. Raises
    Locked after `seconds`.
    """
    prepare()
    descriptor = os.open(LOCKS / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Locked(
                        f"the lab's lock {name!r} is held by another process",
                        why=f"waited {seconds:.0f} s",
                        next=f"see who holds it: fuser -v {LOCKS / (name + '.lock')}",
                    ) from None
                time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)
