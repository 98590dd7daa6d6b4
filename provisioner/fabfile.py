"""The steps as Fabric tasks:  fab -r PATH-OF-THIS-FOLDER -H HOST minio.

One thin module over the same functions that the command line calls; settings come from
`inventory.toml`, when there is one, and from what the host recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fabric import Connection, task

if str(Path(__file__).resolve().parent.parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def _host(c: Connection) -> str:
    host = f"[{c.host}]" if ":" in c.host else c.host
    return f"{c.user}@{host}:{c.port}"


def _run(c: Connection, steps: tuple[str, ...]) -> None:
    from provisioner.commands.apply import apply
    from provisioner.commands.options import Options
    from provisioner.report import choose

    key = c.connect_kwargs.get("key_filename")
    identity = key[0] if isinstance(key, list) and key else key
    code = apply(Options(hosts=(_host(c),), identity=identity), choose(), steps)
    if code:
        sys.exit(int(code))


def _task(name: str, doc: str) -> Any:
    def body(c: Connection) -> None:
        _run(c, () if name == "provision" else (name,))

    body.__doc__ = doc
    made: Callable[..., Any] = task(name=name)
    return made(body)


def _steps() -> dict[str, Any]:
    from provisioner.steps import registry

    return {name: _task(name, step.summary) for name, step in registry().items()}


provision = _task("provision", "Every step in order.")
globals().update({name.replace("-", "_"): made for name, made in _steps().items()})
