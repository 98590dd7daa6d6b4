"""Text of others on its way to a reader."""

from __future__ import annotations

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
