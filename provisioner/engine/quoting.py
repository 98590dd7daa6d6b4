"""Arbitrary text and bytes as words of a POSIX shell script.

Scripts are `str` and become bytes with `encode`; bytes that are not UTF-8 travel through the
`surrogateescape` error handler, so that a file's content survives exactly.
"""

from __future__ import annotations

import base64
import re

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


def encode(script: str) -> bytes:
    return script.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def word(text: str) -> str:
    """`text` as one shell word. A NUL cannot be in a word: ValueError."""
    if "\0" in text:
        raise ValueError("a shell word cannot hold a NUL")
    if _PLAIN.fullmatch(text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def words(*texts: str) -> str:
    return " ".join(word(text) for text in texts)


def emit(data: bytes) -> str:
    """A command that writes exactly `data` to stdout. `printf` is a builtin everywhere, so the
    bytes never stand in a process's argv."""
    if b"\0" in data:
        return f"printf %s {word(base64.b64encode(data).decode())} | base64 -d"
    # bash drops bytes that are invalid in a multibyte locale: scripts run under LC_ALL=C.
    return f"printf %s {word(decode(data))}" if data else ":"


def printable(text: str) -> str:
    """Foreign text for a terminal: no control characters but newline and tab."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
