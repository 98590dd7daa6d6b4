"""The Python package index that pip uses when nobody says otherwise, as the operator's own pip knows it."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_MODULE = "pip/_internal/models/index.py"
_NAMED = re.compile(r"""PyPI\s*=\s*PackageIndex\(\s*["'](https://[^"'\s]+)["']""")


@cache
def public_index() -> str:
    """Its Simple API address; empty when this Python has no pip to ask (a host must then name its own).

    Read as text, never imported: pip's import would cost more than the rest of a run.
    """
    for text in _sources():
        match = _NAMED.search(text)
        if match:
            return f"{match[1].rstrip('/')}/simple"
    return ""


def _sources() -> Iterator[str]:
    """pip's own module, of this environment, of the Python below it, or of ensurepip's bundled wheel."""
    spec = importlib.util.find_spec("pip")
    folders = [Path(spec.origin).parent.parent] if spec is not None and spec.origin else []
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    folders += [Path(sys.base_prefix) / "lib" / version / "site-packages", Path("/usr/lib/python3/dist-packages")]
    for folder in folders:
        path = folder / _MODULE
        if path.is_file():
            yield path.read_text(encoding="utf-8", errors="replace")
    import zipfile

    bundled = Path(sys.base_prefix) / "lib" / version / "ensurepip" / "_bundled"
    for wheel in (*sorted(bundled.glob("pip-*.whl")), *sorted(Path("/usr/share/python-wheels").glob("pip-*.whl"))):
        try:
            with zipfile.ZipFile(wheel) as archive:
                yield archive.read(_MODULE).decode("utf-8", "replace")
        except (OSError, KeyError, zipfile.BadZipFile):
            continue
