"""Accounts that clients log in with: their names, their passwords' rules, their place among the secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from provisioner.errors import UsageError
from provisioner.secrets import Secret

OPERATOR = "mlflow"
"""The operator's own account: every stack with accounts has it, and `verify` and `env` use it."""
LOW, HIGH = 14, 72
"""Characters of a password at least, bytes at most: bcrypt reads no more."""
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,39}")
_PREFIX = "account."


def name(value: object) -> str:
    """The name of an account; ValueError finishes "expected ...". A colon would end it in a login."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("an account's name: a small letter, then small letters, digits, dots, dashes, underscores")
    return value


def declared(value: object) -> str:
    """A name for `access.users`."""
    if value == OPERATOR:
        raise ValueError(f"an account's name besides {OPERATOR}, which is always there")
    return name(value)


def secret_of(account: str) -> str:
    """The secret that holds an account's password."""
    return "login" if account == OPERATOR else _PREFIX + account


def account_of(secret: str) -> str | None:
    """The account whose password a secret is; None for other secrets."""
    if secret == "login":  # noqa: S105  a name, not a value
        return OPERATOR
    return secret.removeprefix(_PREFIX) if secret.startswith(_PREFIX) else None


def is_secret(secret: str) -> bool:
    """Whether `secret` is the name of a person's account among the secrets."""
    return secret.startswith(_PREFIX) and _NAME.fullmatch(secret.removeprefix(_PREFIX)) is not None


def passwords(secrets: Mapping[str, Secret]) -> dict[str, Secret]:
    """Account -> its password, the operator's own first."""
    found = {account: value for secret, value in secrets.items() if (account := account_of(secret)) is not None}
    return dict(sorted(found.items(), key=lambda each: (each[0] != OPERATOR, each[0])))


def password(text: str) -> Secret:
    """A password that somebody chose. Raises UsageError, which never shows it."""
    if not text.isascii() or not text.isprintable():
        raise UsageError(
            "the password has a character in it that not every client sends the same way",
            why="browsers and libraries disagree about letters beyond ASCII; control characters pass through none",
            next="use letters, digits, punctuation and spaces of ASCII",
        )
    if len(text) < LOW:
        raise UsageError(
            f"the password has {len(text)} characters", next=f"use {LOW} or more, or leave it out: one is made"
        )
    if len(text) > HIGH:
        raise UsageError(
            f"the password has {len(text)} characters",
            why=f"bcrypt reads {HIGH} bytes: what comes after would count for nothing",
            next=f"use {LOW} to {HIGH}",
        )
    return Secret(text)


def odd(
    wanted: Iterable[str], before: Iterable[str], live: Iterable[str], removed: Iterable[str], used: bool = True
) -> list[str]:
    """What does not fit between `access.users` as it is and was, and the accounts that there are; nothing
    where accounts are not `used`."""
    if not used:
        return []
    wanted, live, removed = tuple(wanted), set(live), set(removed)
    lines = [
        f"the account {each} stays although access.users no longer names it; to end it: provision user remove {each}"
        for each in before
        if each not in wanted and each in live
    ]
    return lines + [
        f"access.users names {each}, who was removed and stays so; to bring back: provision user add {each}"
        for each in wanted
        if each in removed
    ]
