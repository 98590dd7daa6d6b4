"""The tool's own directory on the operator's machine: one private folder per stack."""

from __future__ import annotations

import contextlib
import os
import secrets as _random
import stat
import urllib.parse
from pathlib import Path

from provisioner.errors import Refused, UsageError


def root() -> Path:
    """`$XDG_STATE_HOME/provision`, by default `~/.local/state/provision`; not created here.

    A relative XDG_STATE_HOME is ignored, as the XDG base directory specification wants.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "provision"


def stack_id(address: str, port: int | None = None) -> str:
    """The name of a stack's folder: its address, and the port when it is not 22.

    Different addresses never share an id: what is not a letter, digit, dot, dash, underscore
    or tilde is percent-encoded, so the `+` before a port cannot come from an address.
    """
    name = urllib.parse.quote(address.strip("[]").lower(), safe="")
    if not name or name.startswith("."):
        raise UsageError(f"{address!r} is not a host's address")
    return name if port in (None, 22) else f"{name}+{port}"


def stack_dir(stack: str) -> Path:
    """The folder of one stack, not created here."""
    if not stack or stack.startswith(".") or "/" in stack or "\0" in stack or len(stack) > 200:
        raise UsageError(f"{stack[:80]!r} is not the name of a stack")
    return root() / stack


def make_private(folder: Path) -> None:
    """Create `folder` (and its parents) and close it to everyone but its owner (0700)."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if stat.S_IMODE(folder.stat().st_mode) & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise _unusable(folder, error) from error


def read_private(path: Path, limit: int) -> tuple[bytes | None, str | None]:
    """The file's bytes (None when there is none) and a warning when its mode had to be repaired.

    Refuses (exit 4) a link, anything but a regular file, a file of another user and one over
    `limit` bytes: none of them is what this tool wrote there.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        raise _unusable(path, error) from error
    with os.fdopen(handle, "rb") as file:
        seen = os.fstat(file.fileno())
        if not stat.S_ISREG(seen.st_mode) or seen.st_uid not in (os.geteuid(), 0):
            raise Refused(
                f"{path} is not a file of yours",
                why="secrets are read only from a regular file that the current user owns",
                next=f"look at it: ls -l {path}",
            )
        if seen.st_size > limit:
            raise Refused(f"{path} is larger than {limit} bytes", why="this tool never writes one that large")
        warning = None
        if stat.S_IMODE(seen.st_mode) & 0o077:
            warning = f"{path} was open to other users; its mode is 0600 again"
            try:
                os.fchmod(file.fileno(), 0o600)
            except OSError as error:
                raise _unusable(path, error) from error
        return file.read(limit + 1), warning


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` as a whole (0600, flushed to the disk): a crash leaves the old or the new file."""
    make_private(path.parent)
    draft = path.with_name(f".{path.name}.{_random.token_hex(6)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        _flush_directory(path.parent)
    except OSError as error:
        raise _unusable(path, error) from error


def append_private(path: Path, content: bytes) -> None:
    """Append to `path` (0600) in one write, so that lines of two runs are never mixed."""
    make_private(path.parent)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o600)
        try:
            os.fchmod(handle, 0o600)
            os.write(handle, content)
        finally:
            os.close(handle)
    except OSError as error:
        raise _unusable(path, error) from error


def _flush_directory(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unusable(path: Path, error: OSError) -> Refused:
    return Refused(
        f"{path} cannot be used: {error.strerror or error}",
        why="this tool keeps a stack's secrets and its log there",
        next="correct it, or choose another place: export XDG_STATE_HOME=DIRECTORY",
    )
