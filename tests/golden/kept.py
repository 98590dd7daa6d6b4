"""The files below this folder against what is made now; written anew with UPDATE_GOLDEN=1 (see README.md here)."""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def same(folder: str, texts: Mapping[str, str]) -> None:
    """The files below `folder` are exactly `texts`, path -> content."""
    root = HERE / folder
    if os.environ.get("UPDATE_GOLDEN"):
        shutil.rmtree(root, ignore_errors=True)
        for name, text in texts.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        pytest.skip(f"tests/golden/{folder} was written anew: read it with git diff before it is kept")
    kept = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in root.rglob("*") if path.is_file()}
    told: list[str] = []
    for name in sorted({*kept, *texts}):
        before, now = kept.get(name), texts.get(name)
        if before != now:
            lines = [[] if text is None else text.splitlines() for text in (before, now)]
            told += difflib.unified_diff(*lines, f"kept {folder}/{name}", f"now {folder}/{name}", lineterm="", n=2)
            if before is None or now is None:
                told.append(f"  {folder}/{name} {'is new' if before is None else 'is no longer made'}")
    if told:
        pytest.fail("\n".join([*told[:200], "", "When that is meant: UPDATE_GOLDEN=1 ./dev test tests/golden"]), False)
