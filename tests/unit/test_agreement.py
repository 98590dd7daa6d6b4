"""What the hosts of a stack agree on: settings, secrets, addresses; and what stands against it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner import record, vault
from provisioner.commands.agreement import Agreed, Company, Glance, Known, agree
from provisioner.commands.editions import numbered
from provisioner.commands.meeting import Meeting
from provisioner.errors import Locked, Refused, UsageError
from provisioner.inventory import HostRequest, Part, StackRequest
from provisioner.resources.facts import Facts
from provisioner.secrets import Secret
from provisioner.settings import Installed, Recorded, effective, with_topology
from provisioner.sources import Source
from provisioner.topology import ROLES, Member, Topology

PARTS = (
    Part(HostRequest("s", "10.151.0.2"), ("store",)),
    Part(HostRequest("d", "10.151.0.3"), ("database",)),
    Part(HostRequest("m", "10.151.0.4"), ("mlflow",)),
    Part(HostRequest("p", "10.151.0.1"), ("proxy",)),
)
TOPOLOGY = Topology(tuple(Member(part.host.name, part.host.address, part.roles) for part in PARTS))
SETTINGS = with_topology(effective({"store.engine": "seaweedfs"}, {}), TOPOLOGY)
STACK = StackRequest("10.151.0.1", PARTS[3].host, {"store.engine": "seaweedfs"}, {}, parts=PARTS)


def glance(name: str, *, stack: StackRequest = STACK, **given: Any) -> Glance:
    host = next(part.host for part in stack.parts if part.host.name == name)
    address = given.pop("address", host.address)
    facts = Facts(addresses=given.pop("carries", (address,)))
    marks = given.pop("marks", frozenset())
    return Glance(replace(stack, host=host), address, facts, given.pop("record", None), given.pop("kept", None), marks)


def agreed(*names: str, known: Known | None = None, stack: StackRequest = STACK, **given: Any) -> Agreed:
    glances = {name: glance(name, stack=stack, **given.get(name, {})) for name in names or ("p", "s", "d", "m")}
    return agree(glances, known or Known(None, None))


def recorded(topology: Topology = TOPOLOGY, **values: Any) -> Recorded:
    settings = with_topology(effective({"store.engine": "seaweedfs", **values}, {}), topology)
    return record.parse_recorded(record.dump_recorded(settings, "x"), "h")


def test_a_new_stack_has_the_addresses_that_ssh_reaches_and_the_proxys_url() -> None:
    found = agreed()
    assert found.settings.topology == TOPOLOGY
    assert found.door.url == "http://10.151.0.1:5000"
    assert "tls.root" in found.secrets.generated


def test_each_host_keeps_the_secrets_of_its_roles_and_together_they_have_all() -> None:
    whole = agreed().secrets.vault
    parts = {name: vault.part(whole, name, SETTINGS) for name in "sdmp"}
    assert set(parts["d"].entries) == {"database.password"}
    assert "store.root.password" in parts["s"].entries
    assert "store.root.password" not in parts["m"].entries
    assert {name for part in parts.values() for name in part.entries} == set(whole.entries)


def test_logins_are_on_mlflows_host_only_where_mlflow_asks_for_them() -> None:
    whole = vault.changed(agreed().secrets.vault, "account.anna", Secret("a" * 24))
    by_mlflow = with_topology(effective({"access.auth": "mlflow"}, {}), TOPOLOGY)
    for name in ("login", "account.anna"):
        assert [name in vault.part(whole, host, SETTINGS).entries for host in "sdmp"] == [False, False, False, True]
        assert [name in vault.part(whole, host, by_mlflow).entries for host in "sdmp"] == [False, False, True, True]


def test_a_host_says_nothing_of_secrets_that_other_hosts_keep() -> None:
    whole = agreed().secrets.vault
    kept: Any = {name: {"kept": vault.part(whole, name, SETTINGS), "record": recorded()} for name in "sdmp"}
    broken_into = kept["s"]["kept"]
    for name in ("login", "account.eve", "tls.root", "database.password"):
        value = whole.entries[name].value if name in whole.entries else Secret("e" * 24)
        broken_into = replace(broken_into, entries={**broken_into.entries, name: vault.Entry(value, 9)})
    kept["s"]["kept"] = broken_into
    assert agreed(**kept).secrets.vault.entries == whole.entries
    # A host whose role another one gets now is still asked for what it kept.
    moved = replace(STACK, parts=(*PARTS[:2], Part(PARTS[2].host, ("proxy",)), Part(PARTS[3].host, ("mlflow",))))
    assert agreed(stack=moved, **kept).secrets.vault.entries.items() >= whole.entries.items()


def test_an_operator_without_a_copy_learns_all_secrets_from_the_hosts() -> None:
    before = agreed()
    whole = before.secrets.vault
    kept = {name: {"kept": vault.part(whole, name, SETTINGS), "record": recorded()} for name in "sdmp"}
    again = agreed(**kept)
    assert again.secrets.vault.entries == whole.entries
    assert again.secrets.generated == ()


def test_what_a_host_that_is_down_may_know_is_not_made_anew() -> None:
    whole = agreed().secrets.vault
    kept = {name: {"kept": vault.part(whole, name, SETTINGS), "record": recorded()} for name in "sdp"}
    with pytest.raises(Refused, match="m may have secrets") as caught:
        agreed("p", "s", "d", **kept)
    assert "mlflow.kek" in caught.value.why
    # With this machine's copy nothing is missing.
    assert agreed("p", "s", "d", known=Known(None, whole), **kept).secrets.generated == ()


def test_a_host_whose_settings_another_run_changes_meanwhile_is_left_as_it_is() -> None:
    before, company = recorded(), Company(Meeting("pm"), "m")
    whole = agreed().secrets.vault
    all_here = {name: glance(name, record=before) for name in "pm"}
    company._agreed = agree(all_here, Known(None, whole))  # what both brought to the first round
    assert company.agreed(all_here["m"], Known(None, None)).settings == company._agreed.settings
    written = recorded(**{"mlflow.workers": 4})
    with pytest.raises(Locked, match="the stack's settings were changed while this run worked"):
        company.agreed(glance("m", record=written), Known(None, None))
    with pytest.raises(Locked, match="the stack's settings"):
        company.agreed(glance("m"), Known(None, None))


def test_what_this_run_has_written_itself_is_no_change_from_elsewhere() -> None:
    company = Company(Meeting("pm"), "m")
    company._agreed = agree({name: glance(name) for name in "pm"}, Known(None, None))
    text = record.dump_recorded(company._agreed.settings, STACK.id)
    part = vault.part(company._agreed.secrets.vault, "m", company._agreed.settings)
    after = glance("m", record=record.parse_recorded(text, "m"), kept=part)
    assert company.agreed(after, Known(None, None)).secrets.vault == company._agreed.secrets.vault


@pytest.mark.parametrize(
    ("values", "edition"),
    [
        ({}, 4),
        ({"store.binary": "/home/anna/minio"}, 4),
        ({"access.tls": {"cert": "/home/anna/c.pem", "key": "/home/anna/k.pem"}}, 4),
        ({"mlflow.workers": 4}, 5),
    ],
)
def test_only_another_setting_is_another_edition_not_the_operators_files(values: dict[str, Any], edition: int) -> None:
    """An inventory names its files at every run; a host records none of their paths."""
    given = {"access.tls": {"cert": "/home/anna/c.pem", "key": "/home/anna/k.pem"}} if "access.tls" in values else {}
    made = Installed("file", sha256="a" * 64)
    before = replace(with_topology(effective(given, {}), TOPOLOGY), installed=made, edition=4)
    known = record.parse_recorded(record.dump_recorded(before, "x"), "h")
    wanted = with_topology(effective({}, values, known), TOPOLOGY)
    assert numbered(replace(wanted, installed=made), known).edition == edition


@pytest.mark.parametrize("chosen", [(), ("mlflow",)])
@pytest.mark.parametrize(("name", "refused"), [("mlflow.flask-key", True), ("database.password", False)])
def test_a_server_that_is_down_keeps_no_other_from_an_external_databases_new_password(
    name: str, refused: bool, chosen: tuple[str, ...]
) -> None:
    parts = (PARTS[0], PARTS[2], Part(HostRequest("n", "10.151.0.5"), ("mlflow",)), PARTS[3])
    values = {"database.engine": "external", "database.url": "postgresql://db.example.com/mlflow"}
    stack = replace(STACK, flags={**STACK.flags, **values}, parts=parts)
    topology = Topology(tuple(Member(part.host.name, part.host.address, part.roles) for part in parts))
    whole = vault.changed(agreed().secrets.vault, "database.password", Secret("d" * 32))
    settings = with_topology(effective({**STACK.flags, **values}, {}), topology)
    had: Any = {h: {"record": recorded(topology, **values), "kept": vault.part(whole, h, settings)} for h in "smp"}
    known = Known(None, vault.changed(whole, name, Secret("e" * 48)), chosen=chosen)
    if refused:
        with pytest.raises(Refused, match="one side only"):
            agreed(*"smp", stack=stack, known=known, **had)
    else:
        assert agreed(*"smp", stack=stack, known=known, **had).secrets.vault.entries[name].value == Secret("e" * 48)


def test_hosts_that_disagree_are_told_and_nothing_is_chosen() -> None:
    one = vault.Vault("x", {"database.password": vault.Entry(Secret("a" * 32), 1)})
    other = vault.Vault("x", {"database.password": vault.Entry(Secret("b" * 32), 1)})
    with pytest.raises(Refused, match="disagree about secrets") as caught:
        agreed(d={"kept": one}, m={"kept": other})
    assert "a" * 32 not in str(caught.value.__dict__)


def test_an_address_that_the_host_does_not_carry_must_be_named() -> None:
    with pytest.raises(Refused, match="how the stack's other hosts reach d is not known") as caught:
        agreed(d={"address": "203.0.113.9", "carries": ("10.151.0.3",)}, stack=_natted())
    assert '[hosts."d"] internal' in caught.value.next
    named = replace(_natted().parts[1].host, internal="10.151.0.3")
    stack = replace(_natted(), parts=(PARTS[0], Part(named, ("database",)), *PARTS[2:]))
    found = agreed(stack=stack, d={"address": "203.0.113.9", "carries": ("10.151.0.3",)})
    assert found.settings.topology.member("d") == Member("d", "10.151.0.3", ("database",))


def _natted() -> StackRequest:
    """A host whose public name is not an address of its own."""
    return replace(STACK, parts=(PARTS[0], Part(HostRequest("d", "db.example.com"), ("database",)), *PARTS[2:]))


def test_two_names_for_one_address_are_refused() -> None:
    parts = (*PARTS[:2], Part(replace(PARTS[2].host, internal="10.151.0.3"), ("mlflow",)), PARTS[3])
    with pytest.raises(Refused, match="the same address"):
        agreed(stack=replace(STACK, parts=parts))


@pytest.mark.parametrize("role", ["store", "database"])
def test_a_role_with_data_that_moves_is_a_switch(role: str) -> None:
    others = {"store": "10.151.0.12", "database": "10.151.0.13"}
    members = tuple(replace(m, address=others[role]) if role in m.roles else m for m in TOPOLOGY.members)
    before = recorded(Topology(members))
    found = agreed(**{name: {"record": before} for name in "sdmp"})
    assert [switch.key for switch in found.switches] == [f"roles.{role}"]
    assert others[role] in str(found.switches[0].recorded)


def test_a_server_that_had_all_keeps_the_data_where_it_is() -> None:
    single = recorded(Topology())
    had = frozenset({"bucket-mlflow", "database.mlflow"})
    found = agreed(p={"record": single, "marks": had})
    assert {switch.key for switch in found.switches} == {"roles.store", "roles.database"}
    assert agreed(p={"record": single}).switches == (), "a first run that failed before it made any"


def test_what_would_leave_data_behind_on_another_host_is_refused_also_where_that_host_is_not_seen() -> None:
    known = Known(None, agreed().secrets.vault)
    stack = replace(STACK, flags={**STACK.flags, "database.name": "other"})
    had = {"record": recorded(), "marks": frozenset({"database.mlflow"})}
    assert [
        s.key for s in agreed("p", "m", "d", stack=stack, known=known, m={"record": recorded()}, d=had).switches
    ] == ["database.name"]
    assert [s.key for s in agreed("m", stack=stack, known=known, m={"record": recorded()}).switches] == [
        "database.name"
    ]
    assert agreed("d", stack=stack, known=known, d={"record": recorded()}).switches == ()


EXTERNAL = {"store.engine": "external", "store.endpoint": "https://s3.example.com", "database.engine": "external"}
KEYS = {"database.password": "d" * 32, "store.user.key": "k" * 20, "store.user.secret": "s" * 40}


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize(
    ("changed", "added", "keys"),
    [
        (
            {"store.bucket": "other", "store.endpoint": "https://s4.example.com"},
            (),
            {"store.bucket", "store.endpoint"},
        ),
        ({"database.engine": "postgresql"}, ("database",), {"database.engine"}),
        ({"store.engine": "minio", "store.endpoint": None}, ("store",), {"store.engine"}),
    ],
)
def test_what_somebody_elses_store_or_database_holds_is_not_left_behind(
    changed: dict[str, Any], added: tuple[str, ...], keys: set[str], seen: bool
) -> None:
    """No host of the stack has the role then; that there is data is marked where MLflow used it."""
    url = {"database.url": "postgresql://db.example.com/mlflow"}
    parts = tuple(part for part in PARTS if part.roles[0] in {"mlflow", "proxy", *added})
    before = recorded(Topology(TOPOLOGY.members[2:]), **EXTERNAL, **url)
    flags = {key: value for key, value in {**EXTERNAL, **url, **changed}.items() if value is not None}
    if "database.engine" in changed:
        del flags["database.url"]
    stack = replace(STACK, flags={}, inventory=flags, parts=parts)
    names = [part.host.name for part in parts if seen or part.roles != ("mlflow",)]
    given = {name: vault.Entry(Secret(value), 1) for name, value in KEYS.items()}
    known = Known(None, vault.Vault("x", {**agreed().secrets.vault.entries, **given}))

    def found(*marks: str) -> set[str]:
        had: Any = {"m": {"record": before, "marks": frozenset(marks)}, "p": {"record": before}}
        return {switch.key for switch in agreed(*names, stack=stack, known=known, **had).switches}

    assert found("bucket-mlflow", "database.mlflow") >= keys
    assert not [key for key in found("bucket-mlflow", "database.mlflow") if key.startswith("roles.")]
    if seen:
        assert found() == set(), "a first run that failed before it made any"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mlflow.serve": "artifacts"}, 'database names d, and mlflow.serve is "artifacts"'),
        (
            {"database.engine": "external", "database.url": "postgresql://d.example/m"},
            "database names d, and database.engine is external",
        ),
        ({"store.engine": "external"}, "store names s, and store.engine is external"),
    ],
)
def test_a_host_for_what_the_record_says_is_elsewhere_is_refused(values: dict[str, Any], words: str) -> None:
    """The inventory does not say it: it was chosen by --set, once."""
    before = recorded(Topology(TOPOLOGY.members[2:]), **values)
    stack = replace(STACK, flags={})
    with pytest.raises(UsageError, match=words):
        agreed(stack=stack, **{name: {"record": before} for name in "mp"})


def test_tracking_is_added_to_servers_that_only_passed_artifacts_on() -> None:
    before = recorded(Topology((TOPOLOGY.members[0], *TOPOLOGY.members[2:])), **{"mlflow.serve": "artifacts"})
    stack = replace(STACK, flags={**STACK.flags, "mlflow.serve": "all"})
    had: Any = {name: {"record": before, "marks": frozenset({"bucket-mlflow"})} for name in "smp"}
    assert agreed(stack=stack, **had).switches == ()


def test_mlflow_on_other_hosts_is_no_switch() -> None:
    members = tuple(replace(m, address="10.151.0.14") if "mlflow" in m.roles else m for m in TOPOLOGY.members)
    assert agreed(p={"record": recorded(Topology(members))}).switches == ()


def test_one_host_of_several_cannot_be_made_the_whole() -> None:
    request = StackRequest("10.151.0.3", HostRequest("10.151.0.3", "10.151.0.3"))
    alone = Glance(request, "10.151.0.3", Facts(addresses=("10.151.0.3",)), recorded(), None)
    with pytest.raises(Refused, match=r"is one of 4 hosts of a stack") as caught:
        agree({"10.151.0.3": alone}, Known(None, None))
    assert "--inventory" in caught.value.next


names = st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", fullmatch=True)
members = st.lists(
    st.builds(
        Member,
        names,
        st.ip_addresses(v=4, network="10.0.0.0/8").map(str),
        st.lists(st.sampled_from(ROLES), min_size=1, unique=True).map(tuple),
    ),
    min_size=2,
    max_size=6,
    unique_by=lambda member: member.name,
)


@given(members)
def test_a_recorded_topology_is_read_as_it_was_written(found: list[Member]) -> None:
    topology = Topology(tuple(found))
    assert recorded(topology).topology == topology


@pytest.mark.parametrize("engine", ["postgresql", "external"])
def test_a_password_that_was_changed_at_a_server_of_somebody_elses_replaces_none_that_still_serves(engine: str) -> None:
    """The earlier one may be none any more: it is no rotation, which would try the new one last."""
    flags: dict[str, Any] = {"store.engine": "seaweedfs"}
    if engine == "external":
        flags |= {"database.engine": engine, "database.url": "postgresql://db.example.com/mlflow"}
    source = Source("database.password", "env", ("DB",), "inventory.toml:1: secrets.database.password")
    stack = StackRequest("10.0.0.1", HostRequest("h", "10.0.0.1"), flags, {}, secret_sources={source.secret: source})

    def with_password(text: str, known: Known) -> vault.Decision:
        request = replace(stack, brought={source.secret: Secret(text)})
        return agree({"h": Glance(request, "10.0.0.1", Facts(), None, known.local, frozenset())}, known).secrets

    first = with_password("the first of them", Known(None, None)).vault
    later = with_password("what they changed it to", Known(None, first))
    assert later.vault["database.password"].reveal() == "what they changed it to"
    assert later.replaced == (() if engine == "external" else ("database.password",))
