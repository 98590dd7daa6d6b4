"""The kept first screen of help is what the command line says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import provisioner

KEPT = Path(provisioner.__file__).parent / "help.txt"
REFRESH = (
    "import sys; sys.argv=['provision','-h','--']; from provisioner.cli import program; "
    "program()(args=['--help'], prog_name='provision', standalone_mode=False)"
)


def test_the_kept_help_is_what_the_command_line_says() -> None:
    """Refresh:  COLUMNS=80 python -c "$REFRESH" > provisioner/help.txt"""
    said = subprocess.run(
        [sys.executable, "-c", REFRESH],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "80", "TERM": "dumb"},
    ).stdout
    assert KEPT.read_text(encoding="utf-8") == said
