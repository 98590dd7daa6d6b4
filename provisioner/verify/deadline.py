"""Time that runs out: every wait of a verification ends by one clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Deadline:
    """A point in time, `seconds` from now."""

    def __init__(self, seconds: float):
        self.end = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left; raises `TimeoutError` when none are (a socket would take 0 for "do not block")."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("no time left")
        return left

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.end

    def within(self, seconds: float) -> Deadline:
        """The earlier of this deadline and `seconds` from now."""
        return Deadline(max(0.0, min(seconds, self.end - time.monotonic())))


def bounded(seconds: float, work: Callable[[], T]) -> T:
    """`work()` in a thread, or `TimeoutError` after `seconds`.

    For what takes no timeout of its own: getaddrinfo with a dead resolver waits 10 s and more, and a
    database driver's connect_timeout does not cover what comes after the connection.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return done[0]
