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

_HERE = Path(__file__).resolve().parent
# `fab -r` puts this folder on the path, where secrets.py and others would hide the standard library's.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _HERE]
if str(_HERE.parent) not in sys.path:
    sys.path.insert(0, str(_HERE.parent))


def _host(c: Connection) -> str:
    host = f"[{c.host}]" if ":" in c.host else c.host
    return f"{c.user}@{host}" if c.port == 22 else f"{c.user}@{host}:{c.port}"


def _run(c: Connection, steps: tuple[str, ...]) -> None:
    from provisioner.commands.apply import apply
    from provisioner.commands.options import Options
    from provisioner.ending import code_of
    from provisioner.errors import UsageError
    from provisioner.report import choose

    try:
        if not getattr(c, "host", None):
            raise UsageError("no host is named", next=f"fab -r {_HERE} -H HOST {' '.join(steps) or 'provision'}")
        key = c.connect_kwargs.get("key_filename")
        identity = key[0] if isinstance(key, list) and key else key
        code = int(apply(Options(hosts=(_host(c),), identity=identity), choose(), steps))
    except (Exception, KeyboardInterrupt) as error:
        code = code_of(error, ())
    if code:
        sys.exit(code)


def _task(name: str, doc: str) -> Any:
    def body(c: Connection) -> None:
        _run(c, () if name == "provision" else (name,))

    body.__doc__ = f"{doc[0].upper()}{doc[1:].rstrip('.')}."
    made: Callable[..., Any] = task(name=name)
    return made(body)


def _steps() -> dict[str, Any]:
    from provisioner.steps import registry

    return {name: _task(name, step.summary) for name, step in registry().items()}


provision = _task("provision", "Every step in order.")
globals().update({name.replace("-", "_"): made for name, made in _steps().items()})
