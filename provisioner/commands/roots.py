"""The roots that a client must trust, as one file: the public ones of this machine and the stack's own."""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
from pathlib import Path

from provisioner import state
from provisioner.certificates.material import pem
from provisioner.errors import Refused, UsageError

HEAD = "# Written by `provision env`: the public roots of this machine, and the root of one MLflow server.\n"
_LIMIT = 4 * 2**20
_KNOWN = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def bundle(roots: str) -> bytes:
    """The file's content: `roots` (PEM) and this machine's public roots. A client that is given a file trusts
    nothing else, and the same variable serves pip and every other program of its shell."""
    return f"{HEAD}{roots}{public()}".encode()


def public() -> str:
    """PEM of the roots that programs of this machine trust by themselves; empty where none are found."""
    paths = ssl.get_default_verify_paths()
    for path in (paths.openssl_cafile, *_KNOWN, _of_certifi()):
        with contextlib.suppress(OSError, ValueError):
            if path and Path(path).stat().st_size <= _LIMIT:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_verify_locations(path)
                # Written anew from what the library made of it: no foreign text comes along.
                if found := context.get_ca_certs(binary_form=True):
                    return "".join(pem("CERTIFICATE", der) for der in found)
    return ""


def _of_certifi() -> str:
    try:
        from certifi import where
    except ImportError:
        return ""
    return where()


def keep(stack: str, roots: str) -> Path:
    """The bundle in the stack's folder of this machine."""
    path = state.stack_dir(stack) / "ca.crt"
    content = bundle(roots)
    if state.read_private(path, 2 * _LIMIT)[0] != content:
        state.write_private(path, content)
    return path


def write(file: str, roots: str) -> Path:
    """The bundle as `file` (0644), replaced as a whole; a file that this did not write is refused."""
    path = Path(file).expanduser().absolute()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise Refused(f"{path} is not a plain file", why="nothing is overwritten that `env` did not write")
        if path.exists():
            with path.open("rb") as there:
                if there.read(len(HEAD.encode())) != HEAD.encode():
                    raise Refused(
                        f"{path} exists",
                        why="it was not written by `provision env`",
                        next="name another file: --ca FILE",
                    )
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(handle, "wb") as new:
                os.fchmod(handle, 0o644)
                new.write(bundle(roots))
                new.flush()
                os.fsync(handle)
            draft.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", next="name another file: --ca FILE") from None
    return path
