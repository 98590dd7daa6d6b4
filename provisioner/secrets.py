"""Secret values: one type that no sink prints, and the mask that cleans foreign text."""

from __future__ import annotations

import secrets as _random
import string

MASK = "(secret)"

_ALPHABET = string.ascii_letters + string.digits
_known: set[str] = set()


class Secret:
    """A secret string. `str`, `repr`, `format` and JSON never show it; `reveal()` does.

    Every value ever wrapped is remembered, so that `masked` can remove it from text that came
    from somewhere else (a journal, an exception, a remote's stderr).
    """

    __slots__ = ("_value",)

    def __init__(self, value: str):
        self._value = value
        if len(value) >= 4:
            _known.add(value)

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and _random.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not serialised")


def generate(length: int = 32) -> Secret:
    """A random secret of letters and digits: `length` x 5.95 bits, safe in URIs, shells and env files."""
    return Secret("".join(_random.choice(_ALPHABET) for _ in range(length)))


def masked(text: str) -> str:
    """`text` with every known secret replaced; longer secrets first, so that no tail survives."""
    for value in sorted(_known, key=len, reverse=True):
        if value in text:
            text = text.replace(value, MASK)
    return text
