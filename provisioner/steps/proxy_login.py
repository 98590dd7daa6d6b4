"""The account at the door, as nginx reads it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache

from provisioner.secrets import Secret

ACCOUNT = "mlflow"
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
    return _file(secrets.get("login") or Secret(""), secrets.get("mlflow.flask-key") or Secret(""))


@lru_cache(maxsize=8)
def _file(login: Secret, flask_key: Secret) -> str:
    import bcrypt

    password, key = login.reveal().encode(), flask_key.reveal().encode()
    salt = hmac.digest(key, b"nginx account " + ACCOUNT.encode() + b" " + password, hashlib.sha256)[:16]
    # bcrypt, and crypt(3) with it, reads 72 bytes.
    line = bcrypt.hashpw(password[:72], b"$2b$%02d$" % COST + _encoded(salt)).decode()
    return f"{HEAD}: the password is shown by `provision secrets show login`.\n{ACCOUNT}:{line}\n"


def _encoded(salt: bytes) -> bytes:
    return base64.b64encode(salt).translate(bytes.maketrans(_STANDARD, _BCRYPT)).rstrip(b"=")
