"""SCRAM-SHA-256 verifiers made and checked on the operator's side, so that PostgreSQL never gets a password.

Format of pg_authid.rolpassword: `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY` (RFC 5803).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets as _random
import stringprep
import unicodedata
from base64 import b64decode, b64encode

from provisioner.secrets import Secret

ITERATIONS = 4096
"""PostgreSQL's own default (scram_iterations)."""
_ITERATION_LIMIT = 1_000_000

_VERIFIER = re.compile(
    r"SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/]{4,172}={0,2})\$([A-Za-z0-9+/]{43}=):([A-Za-z0-9+/]{43}=)"
)
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def prepared(password: str) -> bytes:
    """What PostgreSQL and libpq hash: SASLprep (RFC 4013), or the password as it is where SASLprep
    forbids it (src/common/saslprep.c: pure ASCII is never touched)."""
    if password.isascii():
        return password.encode()
    # U+200B is in both tables; PostgreSQL takes it for a space.
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c
        for c in password
        if stringprep.in_table_c12(c) or not stringprep.in_table_b1(c)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    if not normal or any(table(c) for c in normal for table in _PROHIBITED) or not _one_direction(normal):
        return password.encode()
    return normal.encode()


def _one_direction(text: str) -> bool:
    """RFC 3454 section 6: right-to-left text neither mixes with left-to-right nor ends otherwise."""
    if not any(stringprep.in_table_d1(c) for c in text):
        return True
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(stringprep.in_table_d2(c) for c in text)


def _keys(password: Secret, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password.reveal()), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")


def verifier(password: Secret, salt: bytes | None = None) -> Secret:
    """A new verifier of `password`, with 16 random bytes of salt unless they are given."""
    salt = _random.token_bytes(16) if salt is None else salt
    stored, server = (b64encode(key).decode() for key in _keys(password, salt, ITERATIONS))
    return Secret(f"SCRAM-SHA-256${ITERATIONS}:{b64encode(salt).decode()}${stored}:{server}")


def matches(password: Secret, known: Secret | None) -> bool:
    """Whether `known` (rolpassword, from the catalogue) is a SCRAM verifier of `password`."""
    found = _VERIFIER.fullmatch(known.reveal()) if known is not None else None
    if found is None or not 0 < int(found[1]) <= _ITERATION_LIMIT:
        return False
    try:
        salt, stored, server = (b64decode(part, validate=True) for part in found.groups()[1:])
    except ValueError:
        return False
    wanted = _keys(password, salt, int(found[1]))
    # Both keys: with a foreign ServerKey the client would refuse the server.
    return hmac.compare_digest(wanted[0] + wanted[1], stored + server)


def reason(known: Secret | None) -> str:
    """Why a password that does not match differs, without showing anything of it."""
    if known is None:
        return "it has no password"
    text = known.reveal()
    if text.startswith("md5"):
        return "its password is stored as md5"
    return "its password is not this stack's"
