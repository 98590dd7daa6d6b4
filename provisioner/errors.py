"""What can go wrong, in the words a user reads: what, why, what to do next."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; a contract with every script that calls the tool."""

    OK = 0
    FAILED = 1
    PENDING = 2
    UNREACHABLE = 3
    REFUSED = 4
    VERIFY = 5
    LOCKED = 6
    USAGE = 64
    INTERRUPTED = 130


# With several hosts the process ends with the first of these that occurs.
_PRECEDENCE = (
    Exit.INTERRUPTED,
    Exit.LOCKED,
    Exit.UNREACHABLE,
    Exit.REFUSED,
    Exit.FAILED,
    Exit.VERIFY,
    Exit.PENDING,
    Exit.OK,
)


def combined(codes: list[Exit]) -> Exit:
    """The exit code of a run over several hosts."""
    if Exit.USAGE in codes:
        return Exit.USAGE
    return next((code for code in _PRECEDENCE if code in codes), Exit.OK)


class ProvisionError(Exception):
    """An expected failure: one sentence each for what, why and the next command.

    `detail` holds lines that help (a journal's tail, a remote's own words); it is masked and
    made printable by whoever shows it.
    """

    exit: Exit = Exit.FAILED

    def __init__(self, what: str, *, why: str = "", next: str = "", detail: str = "", exit: Exit | None = None):
        super().__init__(what)
        self.what = what
        self.why = why
        self.next = next
        self.detail = detail
        if exit is not None:
            self.exit = exit


class UsageError(ProvisionError):
    """Flags or inventory are wrong; nothing was looked at."""

    exit = Exit.USAGE


class Unreachable(ProvisionError):
    """No authenticated connection to the host."""

    exit = Exit.UNREACHABLE


class Refused(ProvisionError):
    """A preflight or safety check said no; nothing was changed."""

    exit = Exit.REFUSED


class Locked(ProvisionError):
    """Somebody else is working on the host."""

    exit = Exit.LOCKED


class ProtocolError(ProvisionError):
    """A host answered with something this tool did not ask for."""
