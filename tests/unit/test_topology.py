"""Who does what, seen from one of a stack's hosts."""

from __future__ import annotations

from provisioner.topology import Here, Member, Topology, addresses

A = Member("a", "10.151.0.1", ("store", "proxy"))
B = Member("b", "10.151.0.2", ("database",))
C = Member("c", "10.151.0.3", ("mlflow",))
D = Member("d", "", ("mlflow",))
FOUR = Topology((A, B, C, D))


def test_one_host_does_everything_and_has_no_others() -> None:
    here = Here()
    assert here.holds("store")
    assert here.first("mlflow")
    assert here.others("store", "database", "mlflow", "proxy") == ()
    assert here.member is None


def test_a_host_of_several_does_what_the_topology_says() -> None:
    here = Here(FOUR, "c")
    assert here.holds("mlflow")
    assert not here.holds("database", "store", "proxy")
    assert here.first("mlflow")
    assert not Here(FOUR, "d").first("mlflow")
    assert here.others("mlflow", "database") == (D, B)
    assert here.others("store", "proxy") == (A,)


def test_only_known_addresses_are_told() -> None:
    assert addresses((C, D)) == ("10.151.0.3",)


def test_a_host_has_one_name_in_certificates_whatever_it_is_called() -> None:
    assert A.dns == "10-151-0-1.provision.internal"
    assert Member("six", "fd00::1", ()).dns == "fd00--1.provision.internal"
