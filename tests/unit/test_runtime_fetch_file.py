"""`fetch_file` and `reach` as a host runs them: one program on stdin, against a server in this process."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.runtime import programs

MACHINE = {"x86_64": b"\x3e\x00", "aarch64": b"\xb7\x00"}.get(os.uname().machine, b"\x3e\x00")
PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + MACHINE + b"server" * 300_000


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "mirror"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()


def call(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    return subprocess.run(
        [sys.executable, "-I", "-", *arguments],
        input=programs.program(name),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**clean, "no_proxy": "127.0.0.1"},
    )


def fetch(url: str, content: bytes, target: Path) -> subprocess.CompletedProcess[str]:
    digest = hashlib.sha256(content).hexdigest()
    spec = {"url": url, "sha256": digest, "members": ["minio", "silo"], "destination": str(target)}
    return call("fetch_file", json.dumps(spec))


def packed(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for each, content in (("LICENSE", b"x"), (name, data)):
            info = tarfile.TarInfo(each)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_the_program_itself_arrives_whole(mirror: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = mirror
    (folder / "minio").write_bytes(PROGRAM)
    done = fetch(f"{url}/minio", PROGRAM, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == PROGRAM
    assert f"progress {2**20}" not in done.stdout
    assert "progress " in done.stderr


def test_a_member_is_taken_out_of_an_archive(mirror: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = mirror
    content = packed("silo", PROGRAM)
    (folder / "silo.tar.gz").write_bytes(content)
    done = fetch(f"{url}/silo.tar.gz", content, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == PROGRAM


@pytest.mark.parametrize(
    ("served", "words"),
    [
        (b"<html>410 Gone</html>", "a web page"),
        (PROGRAM[:-1], "wanted"),
    ],
)
def test_anything_but_the_pinned_bytes_never_becomes_a_program(
    mirror: tuple[str, Path], tmp_path: Path, served: bytes, words: str
) -> None:
    url, folder = mirror
    (folder / "minio").write_bytes(served)
    done = fetch(f"{url}/minio", PROGRAM, tmp_path / "out")
    assert done.returncode == 14
    assert words in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mirror"]


@pytest.mark.parametrize("content", [packed("other", PROGRAM), packed("silo", b"#!/bin/sh\n" * 9), b"\x1f\x8bbroken"])
def test_an_archive_with_the_pinned_hash_but_no_program_is_an_error(
    mirror: tuple[str, Path], tmp_path: Path, content: bytes
) -> None:
    url, folder = mirror
    (folder / "a").write_bytes(content)
    assert fetch(f"{url}/a", content, tmp_path / "out").returncode in {14, 15}


def test_a_missing_file_is_told_with_its_status(mirror: tuple[str, Path], tmp_path: Path) -> None:
    done = fetch(f"{mirror[0]}/none", PROGRAM, tmp_path / "out")
    assert done.returncode == 13
    assert "HTTP 404" in done.stderr


def test_reach_tells_size_and_reason(mirror: tuple[str, Path]) -> None:
    url, folder = mirror
    (folder / "minio").write_bytes(PROGRAM)
    lines = call("reach", "5", f"{url}/minio", f"{url}/none", "http://127.0.0.1:1/x").stdout.splitlines()
    assert lines[0] == f"{url}/minio ok {len(PROGRAM)}"
    assert lines[1] == f"{url}/none fail 127.0.0.1:{url.rsplit(':', 1)[1]} answers HTTP 404"
    assert lines[2].startswith("http://127.0.0.1:1/x fail ")
