"""MLflow as `pip install` gives it, on a host that has nothing of the tool."""

from __future__ import annotations

import shutil
from pathlib import Path

from provisioner.lab.host import LabHost
from provisioner.runtime import pins, programs

LOCK = Path(__file__).resolve().parents[2] / "provisioner" / "locks" / "mlflow-3.17.2.txt"
PYTHON = "/opt/client/bin/python"
_UV = "/usr/local/bin/uv"


def install(host: LabHost) -> str:
    """An environment with the locked versions; gives its Python."""
    if host.exec("test -x /opt/client/bin/mlflow").rc:
        host.check(programs.call("fetch_wheel", pins.fetch_spec(pins.UV, _UV)), seconds=300)
        shutil.copy(LOCK, host.root / "root/lock.txt")
        host.check(programs.call("run_uv", _UV, "venv", "-q", "--python", "/usr/bin/python3", "/opt/client"))
        packages = ("pip", "install", "-q", "--python", PYTHON, "--require-hashes", "--no-deps")
        command = programs.call("run_uv", _UV, *packages, "--only-binary", ":all:", "-r", "/root/lock.txt")
        # Shared with other hosts: a link into the cache would let an edit here spoil theirs.
        host.check(f"export UV_LINK_MODE=copy; {command}", seconds=500)
    return PYTHON
