"""Text of others on its way to a reader."""

from __future__ import annotations

from provisioner.engine.quoting import printable
from provisioner.secrets import masked


def clean(text: str) -> str:
    """No secret and no control character but newline and tab. Before text is cut or wrapped as well:
    of a secret that was cut the rest would not be found."""
    return printable(masked(text))
