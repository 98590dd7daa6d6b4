"""Which hosts issue certificates, for what, and from where MLflow's own connection is checked."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_step_postgres import context, guest

from provisioner import secret_kinds
from provisioner.engine.probe import Seen
from provisioner.resources.certificate import Issuer
from provisioner.resources.facts import Facts
from provisioner.resources.file import File
from provisioner.secrets import Secret
from provisioner.settings import effective
from provisioner.steps import certificates, ordered
from provisioner.steps.database_uri import CA, uri

ALLOWED = {"database__allow": ("10.0.0.0/8",)}
FACTS = Facts(addresses=("10.1.2.3",))


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ({}, False),
        ({"access.tls": "own"}, False),
        ({"access.tls": "internal"}, True),
        ({"database.allow": ("10.0.0.0/8",)}, True),
        ({"database.allow": ("10.0.0.0/8",), "access.tls": "own"}, True),
        ({"database.allow": ("127.0.0.0/8", "::1/128")}, False),
    ],
)
def test_a_stack_has_a_root_of_its_own_when_anything_of_it_needs_one(flags: dict[str, object], has: bool) -> None:
    settings = effective(flags, {})
    assert ("tls.root" in secret_kinds.wanted(settings)) == has
    names = [step.name for step in ordered(settings)]
    assert ("certificates" in names) == has
    if has:
        assert names.index("certificates") < names.index("postgres") < names.index("proxy")


def made(seen: Seen | None = None, **flags: object) -> dict[str, object]:
    return {r.id: r for r in certificates.STEP.resources(context(seen, FACTS, **flags))}


def test_one_issuer_certifies_all_names_of_the_host_and_each_service_has_a_line() -> None:
    both = made(access__tls="internal", **ALLOWED)
    issuer, names = both["certificate:issuer"], both["file:tls-names"]
    assert isinstance(issuer, Issuer)
    assert issuer.names == ("10.151.0.1", "10.1.2.3")
    assert isinstance(names, File)
    assert names.content.decode().splitlines()[1:] == [
        "/etc/provision/tls/door.pem 0600 nginx.service serverAuth IP:10.151.0.1",
        "/etc/provision/tls/postgresql/server.pem 0640 postgresql@15-main.service serverAuth IP:10.151.0.1,IP:10.1.2.3",
    ]
    alone = made(**ALLOWED)["file:tls-names"]
    assert isinstance(alone, File)
    assert b"nginx" not in alone.content


def test_for_a_server_that_was_here_before_nothing_is_issued() -> None:
    assert made(guest(), **ALLOWED) == {}
    assert "was here before" in certificates.STEP.headline(context(guest(), **ALLOWED))


@given(
    st.text(min_size=1, max_size=30).filter(str.isprintable), st.sampled_from(["", "db.example", "10.0.0.9", "fd00::9"])
)
def test_the_address_carries_any_password_and_another_host_s_server_is_checked(password: str, host: str) -> None:
    url = urlsplit(uri(effective({}, {}), "mlflow", Secret(password), host))
    assert (url.scheme, url.username, unquote(url.password or "")) == ("postgresql+psycopg2", "mlflow", password)
    assert (url.hostname, url.port, url.path) == (host or "127.0.0.1", 5432, "/mlflow")
    assert parse_qs(url.query) == ({"sslmode": ["verify-full"], "sslrootcert": [CA]} if host else {})
    assert urlsplit(uri(effective({}, {}), "mlflow", None, host)).password is None
