"""Passwords as the two servers store them: made here, so that no statement carries one, and compared here.

MariaDB: `mysql_native_password`, `*` and SHA1(SHA1(password)) in hexadecimal.
MySQL 8: `caching_sha2_password`, `$A$005$`, 20 characters of salt, and the 43 of SHA-256-crypt (Drepper's
"Unix crypt using SHA-256") with 5000 rounds; MySQL's only difference is the longer salt (mysys/crypt_genhash_impl.cc).
"""

from __future__ import annotations

import hashlib
import secrets
import string

from provisioner.secrets import Secret

NATIVE, SHA2 = "mysql_native_password", "caching_sha2_password"
_DIGITS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SALT = string.ascii_letters + string.digits
_PREFIX = "$A$005$"
_ROUNDS = 5000


def stored(plugin: str, password: Secret) -> Secret:
    """What the server keeps of a password; for SHA2 with a new salt each time."""
    if plugin == NATIVE:
        return Secret(_native(password.reveal()))
    salt = "".join(secrets.choice(_SALT) for _ in range(20))
    return Secret(_PREFIX + salt + sha256_crypt(password.reveal().encode(), salt.encode()))


def matches(plugin: str, password: Secret, kept: bytes) -> bool:
    """Whether `kept`, of the catalogue, is this password's."""
    if plugin == NATIVE:
        return secrets.compare_digest(kept, _native(password.reveal()).encode())
    if plugin != SHA2 or len(kept) != 70 or not kept.startswith(_PREFIX.encode()):
        return False
    return secrets.compare_digest(kept[27:], sha256_crypt(password.reveal().encode(), kept[7:27]).encode())


def _native(password: str) -> str:
    inner = hashlib.sha1(password.encode()).digest()  # noqa: S324  the server's own form
    return "*" + hashlib.sha1(inner).hexdigest().upper()  # noqa: S324


def sha256_crypt(password: bytes, salt: bytes, rounds: int = _ROUNDS) -> str:
    """The 43 characters behind the salt; steps as numbered in Drepper's text."""

    def repeated(block: bytes, length: int) -> bytes:
        return (block * (length // 32 + 1))[:length]

    b = hashlib.sha256(password + salt + password).digest()  # 4-8
    a = hashlib.sha256(password + salt + repeated(b, len(password)))  # 1-3, 9-10
    bits = len(password)
    while bits:  # 11
        a.update(b if bits & 1 else password)
        bits >>= 1
    digest = a.digest()
    p = repeated(hashlib.sha256(password * len(password)).digest(), len(password))  # 13-16
    s = repeated(hashlib.sha256(salt * (16 + digest[0])).digest(), len(salt))  # 17-20
    for number in range(rounds):  # 21
        c = hashlib.sha256(p if number & 1 else digest)
        if number % 3:
            c.update(s)
        if number % 7:
            c.update(p)
        c.update(digest if number & 1 else p)
        digest = c.digest()
    text = ""
    for n in range(10):  # 22: bytes n, n + 10, n + 20, turned by one at each step
        x, y, z = (digest[(n * 21 + 10 * k) % 30] for k in range(3))
        text += _base64(x << 16 | y << 8 | z, 4)
    return text + _base64(digest[31] << 8 | digest[30], 3)


def _base64(value: int, count: int) -> str:
    return "".join(_DIGITS[value >> 6 * n & 63] for n in range(count))
