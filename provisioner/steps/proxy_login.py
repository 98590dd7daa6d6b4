"""The accounts at the door, as nginx reads them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache

from provisioner.accounts import passwords
from provisioner.secrets import Secret

COST = 5
"""2^5 rounds: nginx checks the password at every request, 4 ms of a core (measured)."""

HEAD = "# Written by provision"
"""How the accounts file begins."""
_STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BCRYPT = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def accounts(secrets: Mapping[str, Secret]) -> str:
    """The lines of the accounts file.

    The same secrets give the same line, so that a run changes nothing. The salt is made with a key
    that the file's readers do not have: made from the password alone it would be a quick way to
    guess it.
    """
    key = secrets.get("mlflow.flask-key") or Secret("")
    lines = [f"{name}:{_hashed(name, password, key)}\n" for name, password in passwords(secrets).items()]
    return f"{HEAD}: `provision user` changes accounts, `provision secrets show` tells passwords.\n{''.join(lines)}"


@lru_cache(maxsize=1024)
def _hashed(name: str, password: Secret, flask_key: Secret) -> str:
    import bcrypt

    value, key = password.reveal().encode(), flask_key.reveal().encode()
    salt = hmac.digest(key, b"nginx account " + name.encode() + b" " + value, hashlib.sha256)[:16]
    return bcrypt.hashpw(value, b"$2b$%02d$" % COST + _encoded(salt)).decode()


def _encoded(salt: bytes) -> bytes:
    return base64.b64encode(salt).translate(bytes.maketrans(_STANDARD, _BCRYPT)).rstrip(b"=")
