"""The program's entry: `provision` and `python -m provisioner`.

The first screen of help is kept as text (a test keeps it equal to what the command line says), so
that asking for it costs no import of the command-line library.
"""

from __future__ import annotations

import gc
import sys


def main() -> None:
    if sys.argv[1:] in (["--help"], ["-h"]):
        from pathlib import Path

        sys.stdout.write((Path(__file__).parent / "help.txt").read_text(encoding="utf-8"))
        return
    # Most of a short run is imports, and a fifth of those was the collector looking at what they made.
    # A run that changes a host switches it on again (commands/converge.py).
    gc.disable()
    from provisioner.cli import main as run

    run()


if __name__ == "__main__":
    main()
