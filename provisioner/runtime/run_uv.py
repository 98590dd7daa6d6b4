"""Runs uv with the host's own index, proxy and certificate settings: `python3 -I - UV ARGUMENT...`.

The settings go into uv's environment and never onto its command line: an index address often carries
a password, and every user of a host can read command lines.
"""

from __future__ import annotations

import os
import sys

from provisioner.runtime.host_index import discover, uv_environment

FIXED = {
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_SYSTEM_CERTS": "1",
    "UV_NO_PROGRESS": "1",
    "UV_HTTP_TIMEOUT": "60",
    "NO_COLOR": "1",
}


def main(arguments: list[str]) -> int:
    """Becomes uv; comes back only with 64 (usage) or 15 (uv cannot be started)."""
    if not arguments:
        print("usage: run_uv UV ARGUMENT...", file=sys.stderr)
        return 64
    environ = dict(os.environ)
    # pam and systemd sessions may name a virtual environment or project that has nothing to do with ours.
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT", "UV_PYTHON", "UV_TARGET", "UV_CONSTRAINT"):
        environ.pop(name, None)
    environ.update(uv_environment(environ, discover(environ)))
    environ.update(FIXED)
    try:
        os.execve(arguments[0], arguments, environ)  # noqa: S606
    except OSError as error:
        print(f"{arguments[0]} cannot be started: {error.strerror}", file=sys.stderr)
        return 15


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
