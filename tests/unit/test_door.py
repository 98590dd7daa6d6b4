"""The one address that clients use: which name is canonical, and when none can be told."""

from __future__ import annotations

import pytest

from provisioner.door import Door, decide
from provisioner.errors import Exit, Refused


def door(*, names: tuple[str, ...] = (), address: str = "10.151.0.1", own: tuple[str, ...] = ()) -> Door:
    return decide(scheme="http", port=5000, names=names, target="server", address=address, addresses=own)


def test_the_first_name_of_the_setting_is_canonical_and_the_address_stays_usable() -> None:
    found = door(names=("mlflow.example.com", "10.151.0.1"), own=("10.151.0.1",))
    assert found.url == "http://mlflow.example.com:5000"
    assert found.names == ("mlflow.example.com", "10.151.0.1")


def test_without_a_name_the_address_that_ssh_resolved_is_canonical_never_the_alias() -> None:
    assert door(own=("10.151.0.1", "fd00::1")).url == "http://10.151.0.1:5000"
    assert door(address="fd00::1", own=("fd00::1",)).url == "http://[fd00::1]:5000"


@pytest.mark.parametrize(
    ("address", "own"),
    [("127.0.0.1", ("127.0.0.1", "10.0.0.5")), ("::1", ("::1",)), ("203.0.113.7", ("10.0.0.5",)), ("", ("10.0.0.5",))],
)
def test_loopback_and_an_address_that_the_host_does_not_carry_are_refused_with_the_setting(
    address: str, own: tuple[str, ...]
) -> None:
    with pytest.raises(Refused) as error:
        door(address=address, own=own)
    assert error.value.exit == Exit.REFUSED
    assert "--set access.names=" in error.value.next


def test_a_public_address_of_the_operators_way_is_no_name_where_all_names_are_private() -> None:
    assert door(names=("10.0.0.5",), address="8.8.8.8").names == ("10.0.0.5",)
    assert door(names=("10.0.0.5",), address="10.151.0.1").names == ("10.0.0.5", "10.151.0.1")
    assert door(names=("ml.example.org",), address="8.8.8.8").names == ("ml.example.org", "8.8.8.8")
