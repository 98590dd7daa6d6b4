"""Fetches one pinned file and makes a program of it: the file itself, or a member of the tar.gz that it is.

Runs on the host as `python3 -I - SPEC` (Python 3.8 or newer, standard library only) with the host's own
proxy and certificates. SPEC is JSON: `url`, `sha256` (of the file behind it), `members` (names to look for
in an archive) and `destination`. The program appears there whole, proved and built for this machine, or not
at all.

Exit codes as in `fetch_wheel`; stderr carries `progress FETCHED TOTAL` lines in bytes (TOTAL 0: unknown) and,
when it fails, one line each of `what` and `why`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

from provisioner.runtime.host_index import discover, without_credentials
from provisioner.runtime.http_client import CHUNK, Client, Failure, host_of

LIMIT = 1 << 30  # bytes of a download or a program
DEADLINE = 900.0  # seconds for everything
MACHINES = {"x86_64": 0x3E, "aarch64": 0xB7}  # e_machine of elf.h


def download(client: Client, spec: dict[str, Any], path: Path) -> None:
    """The file at `path`, proved by its hash."""
    url = spec["url"]

    def work() -> None:
        digest, received, told, head = hashlib.sha256(), 0, 0, b""
        response, final = client.open(url, "*/*")
        length = response.headers.get("Content-Length") or "0"
        with response, path.open("wb") as file:
            for chunk in client.body(response, LIMIT):
                head = head or chunk[:200]
                digest.update(chunk)
                file.write(chunk)
                received += len(chunk)
                if received - told >= 1 << 20:
                    told = received
                    print(f"progress {received} {int(length) if length.isdigit() else 0}", file=sys.stderr, flush=True)
        if digest.hexdigest() != spec["sha256"]:
            start = head.lstrip().lower()
            page = " (a web page or an error message, not a program)" if start.startswith((b"<", b"{")) else ""
            why = f"{received} bytes{page} with sha256 {digest.hexdigest()}, wanted {spec['sha256']}"
            raise Failure(14, f"{host_of(final)} does not send the pinned file", why, "")

    try:
        client.attempts(url, work)
    except ValueError as error:
        raise Failure(14, f"{host_of(url)} does not send the pinned file", str(error), "") from None


def extract(path: Path, members: list[str], target: Path) -> None:
    """The first of `members` in the archive at `path`."""
    with tarfile.open(str(path), "r:gz") as archive:
        for info in archive:
            if info.isreg() and info.name.rsplit("/", 1)[-1] in members and info.size <= LIMIT:
                source = archive.extractfile(info)
                assert source is not None
                with source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
                return
    raise Failure(
        14, f"the archive holds no {' or '.join(members)}", "it has the pinned hash, its content is another", ""
    )


def fits(path: Path) -> None:
    """A Failure unless the file is a program for this machine."""
    with path.open("rb") as file:
        head = file.read(20)
    wanted, machine = MACHINES.get(os.uname().machine), os.uname().machine
    if head[:4] != b"\x7fELF" or len(head) < 20:
        raise Failure(14, "the pinned file is not a Linux program", "it has the pinned hash but no ELF header", "")
    if int.from_bytes(head[18:20], "little") != wanted:
        raise Failure(10, "the program was built for another machine", f"this one is {machine}", "")


def fetch(spec: dict[str, Any]) -> None:
    """Does what SPEC says."""
    target = Path(spec["destination"])
    partial = target.with_name(target.name + ".part")
    client = Client(discover(dict(os.environ)), time.monotonic() + DEADLINE)
    try:
        partial.write_bytes(b"")
        download(client, spec, partial)
        with partial.open("rb") as file:
            archive = file.read(2) == b"\x1f\x8b"
        if archive:
            extract(partial, spec["members"], target)
        else:
            partial.replace(target)
        fits(target)
    except (tarfile.TarError, EOFError) as error:
        raise Failure(14, "the pinned archive cannot be read", str(error), "") from None
    except OSError as error:
        raise Failure(15, f"{target} cannot be written", str(error), "") from None
    finally:
        if partial.exists():
            partial.unlink()


def main(arguments: list[str]) -> int:
    """The whole program; see the module's docstring for codes and output."""
    os.umask(0o077)
    try:
        spec = json.loads(arguments[0])
    except (IndexError, ValueError):
        print("usage: fetch_file SPEC", file=sys.stderr)
        return 64
    try:
        fetch(spec)
    except Failure as failure:
        print(f"what {failure.what}", file=sys.stderr)
        print(f"why {without_credentials(failure.why)}", file=sys.stderr)
        return failure.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
