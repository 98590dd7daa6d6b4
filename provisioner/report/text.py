"""Text of others on its way to a reader."""

from __future__ import annotations

import textwrap

from provisioner.engine.quoting import printable
from provisioner.secrets import masked


def clean(text: str) -> str:
    """No secret and no control character but newline and tab. Before text is cut or wrapped as well:
    of a secret that was cut the rest would not be found."""
    return printable(masked(text))


def size(count: int) -> str:
    """`41 MB`, `7.8 GB`: decimal units, as disks and downloads are sold."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            value = count / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{count} bytes"


def flush_right(left: str, right: str, width: int) -> str:
    room = width - len(right) - 1
    return f"{cut(left, room):<{room}} {right}".rstrip()


def cut(text: str, room: int) -> str:
    text = clean(text)
    return text if len(text) <= room else text[: room - 3] + "..."


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def hanging(text: str, indent: int, deeper: int, width: int) -> list[str]:
    """`text` from column `indent` on, its further lines `deeper` columns to the right."""
    first = " " * indent
    return textwrap.wrap(
        clean(text),
        max(40, width),
        initial_indent=first,
        subsequent_indent=first + " " * deeper,
        break_long_words=False,
        break_on_hyphens=False,
    )
