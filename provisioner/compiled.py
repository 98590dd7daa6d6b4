"""Compiled templates, kept between runs: to compile those of a stack takes longer than all else that is
decided of it.

They are Python bytecode, so they lie in the tool's own private folder and only what the current user
wrote there is read (state.py). Whatever does not fit is compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import jinja2.compiler
from jinja2.bccache import Bucket, BytecodeCache

from provisioner import state
from provisioner.errors import ProvisionError

_LIMIT = 2**20
_DIGEST = 32


class CompiledTemplates(BytecodeCache):
    """One file for each template. Jinja2 compares the template's text and the version of Python; the digest
    in front covers the rest: the compiler, how it is set up (in `setup`), and that the file is whole."""

    def __init__(self, setup: str) -> None:
        self._folder = state.root() / ".templates"  # no stack's name begins with a dot
        self._compiler = repr([_stamp(file) for file in (jinja2.compiler.__file__, setup)]).encode()

    def load_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(ProvisionError):
            content, _ = state.read_private(self._folder / bucket.key, _LIMIT)
            if content is not None and content[:_DIGEST] == self._digest(content[_DIGEST:]):
                bucket.bytecode_from_string(content[_DIGEST:])

    def dump_bytecode(self, bucket: Bucket) -> None:
        content = bucket.bytecode_to_string()
        with contextlib.suppress(ProvisionError):
            state.write_private(self._folder / bucket.key, self._digest(content) + content)

    def _digest(self, content: bytes) -> bytes:
        return hashlib.sha256(self._compiler + content).digest()


def _stamp(file: str) -> tuple[str, int, int]:
    seen = Path(file).stat()
    return file, seen.st_size, seen.st_mtime_ns
