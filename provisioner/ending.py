"""How the program ends when a command did not: words on stderr, with --json the document, a code."""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Sequence

from provisioner.cli_options import interrupted
from provisioner.errors import Exit, ProvisionError, UsageError
from provisioner.report.text import clean


def code_of(error: BaseException, arguments: Sequence[str]) -> int:
    """Tell of `error`; gives the process's exit code."""
    kind = type(error).__name__
    if kind == "Exit":  # the command-line library's own
        return int(getattr(error, "exit_code", 1))
    if isinstance(error, KeyboardInterrupt) or kind == "Abort":
        told = interrupted()
    elif isinstance(error, ProvisionError):
        told = error
    elif (usage := getattr(error, "format_message", None)) is not None:
        told = UsageError(str(usage()), next="provision --help")
    else:
        told = ProvisionError(
            "a fault of this tool",
            why=f"{kind}: {error}"[:600],
            next="run the same command with -vv, which shows where, and report it",
        )
    from provisioner.report.summary import failure

    for line in failure("provision", told):
        print(clean(line), file=sys.stderr)
    if tracing(arguments):
        print(clean("".join(traceback.format_exception(error))), file=sys.stderr)
    if "--json" in arguments:
        from provisioner.report.model import document, error_object

        whole = {**document(_command(arguments), [], 0.0), "exit": int(told.exit), "error": error_object(told)}
        print(json.dumps(whole, indent=1))
    return int(told.exit)


def tracing(arguments: Sequence[str]) -> bool:
    """-vv, in whatever form."""
    count = sum(len(a) - 1 for a in arguments if a.startswith("-v") and not a.strip("-v"))
    return count + arguments.count("--verbose") > 1


def _command(arguments: Sequence[str]) -> str:
    """The first word that is no option; only for the document of a command that never began."""
    return next((a for a in arguments if a.isidentifier() or a == "forget-key"), "apply")


def leave(code: int) -> None:
    """End the process. After an interrupt without waiting for threads: one may be in a connection
    attempt that only its own timeout ends."""
    sys.stdout.flush()
    sys.stderr.flush()
    others = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if code == Exit.INTERRUPTED and others:
        os._exit(code)
    sys.exit(code)
