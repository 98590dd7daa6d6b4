"""Which machine a program was built for, told from its ELF header; a program inside a tar.gz too."""

from __future__ import annotations

import functools
import gzip
import hashlib
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

from provisioner.errors import UsageError
from provisioner.values import dataclass

# e_machine of /usr/include/elf.h -> Debian's name of the architecture.
_MACHINES = {0x3E: "amd64", 0xB7: "arm64", 0x03: "i386", 0x28: "armhf", 0xF3: "riscv64", 0x15: "ppc64el", 0x16: "s390x"}
PROGRAM_LIMIT = 2**30
"""Bytes a program may have."""


def machine(head: bytes) -> str:
    """`amd64`, `arm64` …; empty when `head` (the first 20 bytes) is not a program's for Linux."""
    if len(head) < 20 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
        return ""
    number = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return _MACHINES.get(number, f"machine {number:#x}")


def kind_of(head: bytes) -> str:
    """What a file that is not a program looks like, for the message."""
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if text.startswith((b"<?xml", b"<error")):
        return "an XML answer, such as an error of a store"
    if head.startswith(b"#!"):
        return "a script"
    if head.startswith(b"MZ"):
        return "a program for Windows"
    if head[:4] in (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"):
        return "a program for macOS"
    if head.startswith(b"PK"):
        return "a zip archive"
    return "not a program"


@dataclass(frozen=True)
class Program:
    """An executable on the operator's machine, or the member of a tar.gz there."""

    path: Path
    sha256: str
    """Of the executable itself."""
    download: str
    """Of the file at `path`: the same, or the archive's."""
    size: int
    machine: str
    """Empty when it is no ELF file."""
    looks: str
    """What it is instead, when `machine` is empty."""
    member: str = ""

    def holds(self, marker: bytes) -> bool:
        """Whether `marker` occurs in the program."""
        if self.member:
            content = self.read()
            return isinstance(content, bytes) and marker in content
        with self.path.open("rb") as file:
            tail = b""
            while chunk := file.read(2**22):
                if marker in tail + chunk:
                    return True
                tail = chunk[-len(marker) :]
        return False

    def read(self) -> Path | bytes:
        """What to send: the file, or the member's bytes."""
        if not self.member:
            return self.path
        with tarfile.open(self.path, "r:gz") as archive:
            return _member(archive, self.member).read(PROGRAM_LIMIT)


def open_program(path: str | Path, members: Sequence[str]) -> Program:
    """The program at `path`; UsageError (64) when it is missing, unreadable, or an archive without it."""
    where = Path(path).expanduser().absolute()
    try:
        seen = where.stat()
        return _opened(where, tuple(members), (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns))
    except OSError as error:
        raise UsageError(
            f"{where} cannot be read: {error.strerror or error}",
            next="correct the path, or leave it out to keep what the host has",
        ) from error


@functools.lru_cache(maxsize=8)
def _opened(where: Path, members: tuple[str, ...], _stamp: tuple[int, ...]) -> Program:
    try:
        with where.open("rb") as file:
            if not where.is_file():
                raise UsageError(f"{where} is not a file")
            head = file.read(64)
            file.seek(0)
            download = hashlib.file_digest(file, "sha256").hexdigest()
            if head[:2] != b"\x1f\x8b":
                return Program(where, download, download, where.stat().st_size, machine(head), kind_of(head))
        return _inside(where, download, members)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError) as error:
        raise UsageError(f"{where} is not a whole tar.gz", why=str(error)[:200], next="fetch it again") from error


def _inside(where: Path, download: str, members: Sequence[str]) -> Program:
    with tarfile.open(where, "r:gz") as archive:
        for name in archive.getnames()[:1000]:
            if name.rsplit("/", 1)[-1] in members:
                digest, size, head = hashlib.sha256(), 0, b""
                file = _member(archive, name)
                while chunk := file.read(2**20):
                    head = head or chunk[:64]
                    digest.update(chunk)
                    size += len(chunk)
                return Program(where, digest.hexdigest(), download, size, machine(head), kind_of(head), name)
    raise UsageError(f"{where} holds no {' or '.join(members)}", next="name the binary itself, or another archive")


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    info = archive.getmember(name)
    if not info.isreg() or info.size > PROGRAM_LIMIT:
        raise UsageError(f"{name} in the archive is not a program")
    return cast("IO[bytes]", archive.extractfile(info))
