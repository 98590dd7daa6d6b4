"""Which roots `env` writes down, and for whom."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from model import request

from provisioner.certificates import authority
from provisioner.certificates.material import Material, certificates, unpack
from provisioner.commands.env import _trust
from provisioner.errors import Refused
from provisioner.secrets import Secret
from provisioner.settings import effective

ROOT = authority.new_root()
MINE = certificates(unpack(ROOT).chain)
BROUGHT = certificates((b"brought",))
SECRETS = {"tls.root": ROOT, "tls.own": Material(b"k", (b"c",), (b"brought",)).pack()}
ALLOW = {"database.allow": ("10.0.0.0/8",)}


def trust(
    folder: Path, flags: dict[str, Any], secrets: dict[str, Secret], ca: bool = True
) -> tuple[dict[str, str], str]:
    file = folder / "ca.pem"
    view: Any = SimpleNamespace(
        settings=effective(flags, {}), context=SimpleNamespace(secrets=secrets), request=request()
    )
    found = _trust(view, str(file) if ca else None)
    return found, file.read_text() if file.exists() else ""


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ({}, ()),
        (ALLOW, (MINE,)),
        ({"access.tls": "internal"}, (MINE,)),
        ({"access.tls": "internal", **ALLOW}, (MINE,)),
        ({"access.tls": "own"}, (BROUGHT,)),
        ({"access.tls": "own", **ALLOW}, (MINE, BROUGHT)),
    ],
)
def test_a_file_that_is_asked_for_has_every_root_of_the_stack_once(
    tmp_path: Path, flags: dict[str, Any], has: tuple[str, ...]
) -> None:
    _, text = trust(tmp_path, flags, SECRETS)
    assert {each: text.count(each) for each in (MINE, BROUGHT)} == {each: int(each in has) for each in (MINE, BROUGHT)}


def test_a_client_of_the_url_is_not_told_of_the_database_s_root(tmp_path: Path) -> None:
    assert trust(tmp_path, ALLOW, SECRETS, ca=False) == ({}, "")


def test_a_root_that_is_not_known_is_refused_and_no_file_is_written(tmp_path: Path) -> None:
    for flags in (ALLOW, {"access.tls": "own", **ALLOW}):
        with pytest.raises(Refused, match="not known"):
            trust(tmp_path, flags, {"tls.own": SECRETS["tls.own"]})
    assert list(tmp_path.iterdir()) == []
