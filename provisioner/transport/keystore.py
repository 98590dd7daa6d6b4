"""The tool's own known_hosts, in the user's state directory: ~/.ssh/known_hosts is never written."""

from __future__ import annotations

import base64
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provisioner.errors import Unreachable
from provisioner.transport import hostkeys


def store_path() -> Path:
    """`$XDG_STATE_HOME/provision/known_hosts`, `~/.local/state` without the variable."""
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return root / "provision" / "known_hosts"


def record(name: str, kind: str, blob: bytes, path: Path | None = None) -> hostkeys.Verdict:
    """Keep a key seen for the first time; gives what the file says once the lock is held.

    "new" means that this call wrote it. "known" means that somebody else just did; "changed" that
    somebody else just recorded another key: two operators meeting two different hosts.
    """
    path = path or store_path()
    with _locked(path):
        present = hostkeys.about(hostkeys.read(path), name)
        verdict = hostkeys.judge(present, blob)
        if verdict == "new":
            text = _text(path)
            if text and not text.endswith("\n"):
                text += "\n"
            _replace(path, f"{text}{name.lower()} {kind} {base64.b64encode(blob).decode()}\n")
    return verdict


def forget(names: list[str], path: Path | None = None) -> list[str]:
    """Remove every key recorded for `names` (`host` or `[host]:port`); gives their fingerprints."""
    path = path or store_path()
    if not path.exists():
        return []
    gone: list[str] = []
    with _locked(path):
        kept = []
        for line in _text(path).splitlines():
            entry = hostkeys.parse_line(line, str(path))
            if entry is not None and any(entry.covers(name.lower()) for name in names):
                gone.append(hostkeys.fingerprint(entry.blob))
            else:
                kept.append(line)
        if gone:
            _replace(path, "".join(f"{line}\n" for line in kept))
    return gone


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Held while the file is read and replaced: several hosts are met at once, by several processes."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        os.close(descriptor)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _replace(path: Path, text: str) -> None:
    import tempfile

    descriptor, name = tempfile.mkstemp(prefix=".known_hosts.", dir=path.parent)  # 0600 from the start
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _unusable(path: Path, error: OSError) -> Unreachable:
    return Unreachable(
        "host keys cannot be recorded",
        why=f"{error.filename or path}: {error.strerror}",
        next=f"make {path.parent} writable for you, or set XDG_STATE_HOME",
    )
