from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.errors import Refused
from provisioner.lab import network, spec
from provisioner.lab.process import Identity
from provisioner.lab.spec import Account, Bind, Record, Spec

PLAIN = Spec(name="web1", address="10.151.0.1")
FULL = replace(
    PLAIN,
    packages=("nginx",),
    lower=("/layers/a/upper", "/images/b"),
    ssh_public_keys=("ssh-ed25519 AAAA me",),
    account=Account("ops", "$6$x", nopasswd=False),
    bind=(Bind("/srv/a", "/mnt/d1"),),
    sshd=("MaxSessions 2",),
    memory=1 << 30,
    cache=True,
)


@pytest.mark.parametrize("record", [Record(PLAIN), Record(FULL, Identity(7, 99, "boot"))])
def test_a_state_file_gives_back_what_was_written(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    spec.write(path, record)
    assert spec.read(path) == record
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"spec": {}, "process": null}', '{"process": 1}'])
def test_a_damaged_state_file_is_no_host(text: str, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    assert spec.read(path) is None


def test_fields_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"spec": {"name": "a", "address": "10.151.0.1", "colour": "red"}, "process": null}')
    assert spec.read(path) == Record(Spec("a", "10.151.0.1"))


@pytest.mark.parametrize("name", ["", "../x", "Web", "1a", "a" * 32, "a b", "a/b", "a\n"])
def test_a_name_that_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        spec.checked_name(name)


@pytest.mark.parametrize(
    "address", ["10.151.0.0", "10.151.0.254", "10.151.0.255", "10.151.1.1", "127.0.0.1", "x", "::1"]
)
def test_only_addresses_of_hosts_in_the_lab_are_accepted(address: str) -> None:
    with pytest.raises(Refused):
        network.checked(address)


@pytest.mark.parametrize(
    "bad",
    [
        replace(PLAIN, bind=(Bind("srv", "/mnt"),)),
        replace(PLAIN, bind=(Bind("/srv", "/mnt:ro"),)),
        replace(PLAIN, sshd=("MaxSessions 2\nPermitRootLogin yes",)),
        replace(PLAIN, ssh_public_keys=("a\nb",)),
        replace(PLAIN, host_key_types=("../../x",)),
        replace(PLAIN, account=Account("root:x")),
    ],
)
def test_a_field_that_could_reach_further_than_its_purpose_is_refused(bad: Spec) -> None:
    with pytest.raises(Refused):
        spec.checked(bad)


def test_forwarding_rules_are_added_only_where_packets_are_dropped_by_default() -> None:
    assert network.missing_accepts("-P FORWARD ACCEPT\n") == []
    dropped = "-P FORWARD DROP\n-A FORWARD -i provlab0 -j ACCEPT\n"
    assert network.missing_accepts(dropped) == [("FORWARD", "-o", "provlab0", "-j", "ACCEPT")]
    assert network.missing_accepts("") == []
