"""Runs uv with the host's own index, proxy and certificate settings: `python3 -I - UV ARGUMENT...`.

The settings go into uv's environment and never onto its command line: an index address often carries
a password, and every user of a host can read command lines. uv's lines are passed on as they come; when
it fails, `what`, `why` and `next` lines follow for what can be told from its words.
"""

from __future__ import annotations

import collections
import os
import re
import subprocess
import sys

from provisioner.runtime.host_index import discover, uv_environment, without_credentials

FIXED = {
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_SYSTEM_CERTS": "1",
    "UV_NO_PROGRESS": "1",
    "UV_HTTP_TIMEOUT": "60",
    "NO_COLOR": "1",
}

# The words of uv 0.13; the first that fits counts.
KNOWN = (
    (
        r"No space left on device|Disk quota exceeded",
        "the disk is full",
        "free space at /opt: an environment takes 0.7 GB",
    ),
    (
        r"[Hh]ash mismatch",
        "the index sent other bytes than the lock names",
        "compare the mirror's copy of that package with the public one",
    ),
    (
        r"invalid peer certificate|UnknownIssuer|certificate verify failed",
        "the index's certificate is not trusted",
        "put its authority into /usr/local/share/ca-certificates, then: update-ca-certificates",
    ),
    (
        r"\b(401 Unauthorized|403 Forbidden|407 Proxy)|Could not authenticate",
        "the index or the proxy refuses this host",
        "check the user and password in the host's index or proxy settings",
    ),
    (
        r"not found in the package registry|no wheels with a matching|no version of|404 Not Found",
        "the index lacks a package of the lock",
        "add it to the mirror, or name another index in /etc/pip.conf (index-url)",
    ),
    (
        r"error sending request|dns error|[Cc]onnection (refused|reset)|timed out",
        "the index does not answer this host",
        "name a reachable index in /etc/pip.conf (index-url), or a proxy in /etc/environment",
    ),
)


def advice(text: str) -> str:
    """The `what`, `why` and `next` lines for a failure; empty when its words are not known."""
    for pattern, why, what_helps in KNOWN:
        found = re.search(r".*(?:" + pattern + ").*", text)
        if found:
            said = without_credentials(found.group(0)).strip()[:300]
            return f"what {why}\nwhy {said}\nnext {what_helps}"
    return ""


def main(arguments: list[str]) -> int:
    """uv's own exit code; 64 (usage) or 15 (uv cannot be started)."""
    if not arguments:
        print("usage: run_uv UV ARGUMENT...", file=sys.stderr)
        return 64
    environ = dict(os.environ)
    # A login may name a virtual environment or project that has nothing to do with ours.
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT", "UV_PYTHON", "UV_TARGET", "UV_CONSTRAINT"):
        environ.pop(name, None)
    environ.update(uv_environment(environ, discover(environ)))
    environ.update(FIXED)
    last: collections.deque[str] = collections.deque(maxlen=60)
    try:
        with subprocess.Popen(arguments, env=environ, stderr=subprocess.PIPE, text=True, errors="replace") as uv:
            for line in uv.stderr or ():
                last.append(line)
                print(line, end="", file=sys.stderr, flush=True)
    except OSError as error:
        print(f"{arguments[0]} cannot be started: {error.strerror}", file=sys.stderr)
        return 15
    if uv.returncode:
        print(advice("".join(last)), file=sys.stderr)
    return uv.returncode if uv.returncode >= 0 else 128 - uv.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
