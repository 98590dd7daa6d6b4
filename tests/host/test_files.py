"""Every file that a first run left on a host, with owner and mode, against a list that a person has read.

The lists are tests/golden/host-files-ENGINE.txt. When a difference is meant:

    UPDATE_GOLDEN=1 ./dev test tests/host/test_files.py
    git diff tests/golden
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest

from provisioner.lab import hosts

from . import walk
from .conftest import Stack

GOLDEN = Path(__file__).parent.parent / "golden"


def image(stack: Stack) -> Path:
    (record,) = (record for record in hosts.records() if record.spec.name == stack.host.name)
    return Path(record.spec.lower[-1])


def test_every_file_that_was_made_has_the_owner_and_the_mode_of_the_list(stack: Stack) -> None:
    kept = GOLDEN / f"host-files-{stack.engine}.txt"
    found = walk.told(stack.host.root, image(stack))
    assert len(found) > 60, "the walk saw next to nothing"
    if os.environ.get("UPDATE_GOLDEN"):
        kept.write_text("\n".join(found) + "\n")
        pytest.skip(f"{kept.name} was written anew: read it with git diff before it is kept")
    wanted = kept.read_text().splitlines()
    assert found == wanted, "\n".join(difflib.unified_diff(wanted, found, "the list", "the host", lineterm="", n=0))


def test_nothing_new_is_set_id_or_writable_for_all(stack: Stack) -> None:
    assert walk.dangerous(stack.host.root, image(stack)) == []


def test_the_walk_sees_what_it_is_there_for(stack: Stack) -> None:
    """A list that is kept by a walk that looks away would be green for ever."""
    planted = {"/etc/mlflow/planted": "0666", "/opt/planted": "4755", "/var/lib/mlflow/planted": "0600"}
    for path, mode in planted.items():
        stack.on(f"touch {path} && chmod {mode} {path}")
    try:
        lines = walk.told(stack.host.root, image(stack))
        assert all(
            any(line.endswith(f"  {path}") and f" {mode} " in line for line in lines) for path, mode in planted.items()
        )
        assert walk.dangerous(stack.host.root, image(stack)) == ["0666 /etc/mlflow/planted", "4755 /opt/planted"]
    finally:
        stack.on(f"rm {' '.join(planted)}")
