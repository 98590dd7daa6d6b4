"""What is typed on the terminal, unseen."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from provisioner.errors import UsageError


def secretly(prompt: str, option: str, instead: str) -> str:
    """Ask on the terminal. Not from a pipe: getpass would read that, and show it. UsageError where there is no
    terminal; `option` is what asked for it, `instead` what else one can do."""
    try:
        Path("/dev/tty").open("rb").close()
    except OSError as error:
        raise UsageError(f"{option} asks for a password, and there is no terminal to ask on", next=instead) from error
    try:
        return getpass.getpass(prompt)
    except (EOFError, KeyboardInterrupt):
        print(file=sys.stderr)  # the prompt's line is still open
        raise KeyboardInterrupt from None
