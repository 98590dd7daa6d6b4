"""The shells that a script may meet on a host: dash on Debian and Ubuntu, busybox, bash as sh."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

SHELLS = [
    command for command in (["dash"], ["busybox", "sh"], ["bash", "--posix"]) if shutil.which(command[0]) is not None
]

_NOT_WARNED = "SC1090,SC1091,SC2016,SC2317,SC2034,SC3045,SC2174,SC2043"


def run(shell: list[str], script: bytes, timeout: float = 30) -> subprocess.CompletedProcess[bytes]:
    """`script` on the shell's stdin, as a host gets it."""
    return subprocess.run([*shell, "-s"], input=script, capture_output=True, timeout=timeout, check=False)


@cache
def lint(script: str) -> str:
    """What shellcheck says of `script` as POSIX sh; empty when it is content.

    SC1090/SC1091: files of the host are sourced. SC2016: dollars in single quotes are meant.
    SC2043: generated loops may have one word. SC2174: parents of these directories exist.
    SC2317: functions of the prelude are called by fragments, or not.
    """
    if shutil.which("shellcheck") is None:
        return "shellcheck is not installed"
    done = subprocess.run(
        ["shellcheck", "-s", "sh", "-S", "warning", "-e", _NOT_WARNED, "-"],
        input=script.encode("utf-8", "surrogateescape"),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace") if done.returncode else ""
