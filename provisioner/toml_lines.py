"""Where in a TOML file each key stands: tomllib gives values without positions."""

from __future__ import annotations

import re
from collections.abc import Mapping

Path = tuple[str, ...]

# No inventory is deeper; a hostile one with a key of 100,000 parts must not cost their square.
_DEPTH = 8

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
# One token of a value: strings (the long ones first), comments, brackets, line ends, everything else.
_TOKEN = re.compile(
    r"(?P<string>\"\"\"(?:\\.|[^\\])*?\"\"\"\"{0,2}|'''.*?''''{0,2}|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*')"
    r"|(?P<comment>#[^\n]*)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<end>\n)|(?P<rest>[^\"'#\[\]{}\n]+|[\"'])",
    re.DOTALL,
)


def lines(text: str) -> dict[Path, int]:
    """Path of each table and key -> line, from 1. Keys inside an inline table or an array are not
    listed: `line` gives the line of what holds them. Elements of [[arrays]] share one path; the last
    wins. `text` must be what tomllib accepted; on anything else the result is merely incomplete.
    """
    found: dict[Path, int] = {}
    table: Path = ()
    position, number = 0, 1
    while position < len(text):
        position = _after(_BLANK, text, position)
        if position >= len(text):
            break
        if text[position] in "\r\n":
            number += text[position] == "\n"
            position += 1
            continue
        start = number
        if text[position] == "[":
            position += 1 + (text[position + 1 : position + 2] == "[")
            parsed = key(text, position)
            if parsed is not None:
                table, position = parsed
                _note(found, table, start)
        elif text[position] != "#":
            parsed = key(text, position)
            if parsed is not None:
                name, position = parsed
                _note(found, table + name, start)
        position, number = _skip(text, position, number)
    return found


def overlong(text: str) -> int | None:
    """The first line of more than 8 KiB, which no file of this tool has: tomllib's time grows with the
    square of a key's parts, so that one long line of a hostile file could hold it for an hour."""
    return next((n for n, each in enumerate(text.split("\n"), 1) if len(each) > 8192), None)


def line(found: Mapping[Path, int], path: Path) -> int:
    """The line of `path`, else of the nearest table that holds it, else 1."""
    for length in range(min(len(path), _DEPTH), 0, -1):
        if path[:length] in found:
            return found[path[:length]]
    return 1


def key(text: str, position: int = 0) -> tuple[Path, int] | None:
    """The dotted key at `position` and where it ends; None when there is none."""
    parts: list[str] = []
    while True:
        position = _after(_BLANK, text, position)
        bare = _BARE.match(text, position)
        quoted = None if bare else re.compile(r"\"((?:\\.|[^\"\\\n])*)\"|'([^'\n]*)'").match(text, position)
        match = bare or quoted
        if match is None:
            return None
        if bare:
            parts.append(bare[0])
        elif quoted and quoted[2] is not None:
            parts.append(quoted[2])
        elif quoted:
            parts.append(_unescaped(quoted[1]))
        position = _after(_BLANK, text, match.end())
        if text[position : position + 1] != ".":
            return tuple(parts), position
        position += 1


def _skip(text: str, position: int, number: int) -> tuple[int, int]:
    """Past the rest of a statement: to the end of its line, or of the lines that brackets hold together."""
    depth = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # pragma: no cover - every character is a token
            return position + 1, number
        position = match.end()
        number += match[0].count("\n")
        depth += (match.lastgroup == "open") - (match.lastgroup == "close")
        if match.lastgroup == "end" and depth <= 0:
            break
    return position, number


def _note(found: dict[Path, int], path: Path, number: int) -> None:
    path = path[:_DEPTH]
    for length in range(1, len(path)):
        found.setdefault(path[:length], number)
    found[path] = number


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _unescaped(raw: str) -> str:
    simple = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\", "e": "\x1b"}

    def one(match: re.Match[str]) -> str:
        digits = match[1] or match[2]
        if digits is not None:
            code = int(digits, 16)
            return chr(code) if code < 0x110000 else match[0]
        return simple.get(match[3], match[0])

    return re.sub(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", one, raw)
