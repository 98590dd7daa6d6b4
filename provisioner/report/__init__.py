"""What a user sees: live on a terminal, lines in a pipe, one JSON document for programs."""

from __future__ import annotations

import os
import sys

from provisioner.report.model import Reporter


def choose(*, json: bool = False, quiet: bool = False, verbose: int = 0, color: bool = True) -> Reporter:
    """The reporter for this call's flags and terminal."""
    if json:
        from provisioner.report.json import Json

        return Json(verbose=verbose, quiet=quiet)
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        from provisioner.report.plain import Plain

        return Plain(verbose=verbose, quiet=quiet)
    from provisioner.report.live import Live

    return Live(verbose=verbose, color=color and not os.environ.get("NO_COLOR"))
