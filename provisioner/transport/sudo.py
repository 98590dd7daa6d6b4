"""The shell that a script is fed to: as the login user, as root, or through sudo.

Every form is one fixed command line without secrets; password (one line) and script travel on
stdin. The shell says READY on stderr once it runs as whom it should: what comes before is the
login shell's or sudo's own talk, and without it nothing of the script ran, whatever the exit code
(sudo-rs eats the stdin that follows a password and gives 0: measured with 0.2.5).
"""

from __future__ import annotations

import shlex
from enum import Enum

READY = b"provision: shell ready\n"
NOT_ROOT = "provision: not root"
# Reads the script as one compound command: a script cut short by a dying link is a syntax error
# and not half a script. The script's own commands find an empty stdin.
_HEAD, _TAIL = b"{ :; ", b"\n} </dev/null\n"

_SAY = f'echo "{READY.decode().strip()}" >&2'


class Way(Enum):
    """How a script comes to run as whom it should."""

    LOGIN = "as the login user"
    ROOT = "the login user is root"
    SUDO = "sudo without a password, when the login user is not root"
    PASSWORD = "sudo with a password, when the login user is not root"  # noqa: S105 - a way, not a password
    NONE = "the login user must be root"


def wrapped(script: bytes) -> bytes:
    """What is written to stdin for `script`."""
    return _HEAD + script + _TAIL


def run_command(way: Way) -> str:
    """The exec request that reads a script from stdin to its end and runs it."""
    return _command(way, "exec sh -s")


def hold_command(way: Way, size: int) -> str:
    """The exec request that runs the first `size` bytes of stdin and leaves the rest to the script."""
    # The variable keeps the script out of argv. `head -c` takes exactly that much: nothing else is
    # written before the first heartbeat.
    return _command(way, f'script=$(head -c {size}); eval "$script"')


def _command(way: Way, body: str) -> str:
    start = f"{_SAY}; {body}"
    if way in (Way.LOGIN, Way.ROOT):
        outer = start
    elif way is Way.NONE:
        outer = f'if [ "$(id -u)" = 0 ]; then {start}; else echo "{NOT_ROOT}" >&2; exit 1; fi'
    elif way is Way.SUDO:
        # The C locale only so that sudo's refusals can be told apart; gone again in the shell.
        sudo = f"exec env LC_ALL=C sudo -n -- sh -c {shlex.quote(f'unset LC_ALL; {start}')}"
        outer = f'if [ "$(id -u)" = 0 ]; then {start}; else {sudo}; fi'
    else:
        outer = _with_password(start)
    return f"exec sh -c {shlex.quote(outer)}"


def _with_password(start: str) -> str:
    # sudo gets a stdin of its own with nothing but the password; the privileged shell turns to a fifo
    # for the script. So neither sudo's reading ahead nor a wrong password can touch the script, and
    # nothing relies on sudo's timestamp (timestamp_timeout=0).
    # sudo-rs takes the end of its stdin for two more wrong passwords (9 s, and accounts get locked);
    # a line that is too long for it is none.
    inner = f'exec <"$1"; rm -rf "${{1%/*}}"; unset LC_ALL; {start}'
    return "; ".join(
        (
            "IFS= read -r word",
            f'if [ "$(id -u)" = 0 ]; then {start}; exit; fi',
            "umask 077",
            "dir=$(mktemp -d) || exit 1",
            'mkfifo "$dir/script" || exit 1',
            "pad=",
            'case "$(sudo -V 2>&1)" in sudo-rs*) pad=$(printf "%2000s" x);; esac',
            "exec 3<&0",
            # A simple command, so that it is the process itself that waits at the fifo, and gets killed.
            'cat <&3 2>/dev/null >"$dir/script" & feeder=$!',
            f'printf "%s\\n%s" "$word" "$pad" | LC_ALL=C sudo -S -p "" --'
            f' sh -c {shlex.quote(inner)} sh "$dir/script" 3<&-',
            "status=$?",
            "kill $feeder 2>/dev/null",
            'rm -rf "$dir"',
            "exit $status",
        )
    )


def held(script: bytes) -> bytes:
    """What is written to stdin for a held script: whole or not at all, and stdin stays the script's."""
    return b"{ :; " + script + b"\n}\n"
