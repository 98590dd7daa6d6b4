"""Units: restart, reload, start or nothing, decided from what is seen alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shells import lint

from provisioner.engine import batch, probe, script
from provisioner.engine.probe import Seen
from provisioner.engine.resource import UNKNOWN, Change, Planned
from provisioner.resources.package import Package, PackageState
from provisioner.resources.paths import ABSENT, PathProbe, PathState
from provisioner.resources.unit import Service, UnitProbe, UnitState
from provisioner.resources.user import SystemUser, UserState

CONF, UNIT, PROGRAM = "/etc/toy.conf", "/etc/systemd/system/toy.service", "/usr/local/bin/toy"
SERVICE = Service(
    id="unit:toy.service", unit="toy.service", inputs=(UNIT, CONF), links=(PROGRAM,), reloads=(CONF,), health="true"
)

paths = st.builds(
    PathState,
    kind=st.sampled_from(["absent", "file", "directory", "link", "other"]),
    content=st.one_of(st.none(), st.just(UNKNOWN), st.binary(max_size=8)),
    identity=st.sampled_from(["", "1:2:3:4"]),
)
units = st.builds(
    UnitState,
    load=st.sampled_from(["loaded", "not-found", "masked", "error", "bad-setting"]),
    active=st.sampled_from(["active", "inactive", "failed", "activating", "deactivating", "reloading", "maintenance"]),
    sub=st.sampled_from(["running", "dead", "auto-restart", "auto-restart-queued", "start-pre", "exited"]),
    enabled=st.sampled_from(["enabled", "disabled", "static", "masked", "linked", "generated", ""]),
    need_reload=st.booleans(),
    record=st.dictionaries(st.sampled_from([CONF, UNIT, PROGRAM]), st.sampled_from(["1:2:3:4", "x"])),
)


@given(units, paths, paths, paths)
def test_a_service_is_as_wanted_once_it_was_applied(unit: UnitState, a: PathState, b: PathState, c: PathState) -> None:
    seen = Seen({SERVICE.probe: unit, PathProbe(UNIT): a, PathProbe(CONF): b, PathProbe(PROGRAM, read=False): c})
    SERVICE.diff(seen)
    assert SERVICE.diff(SERVICE.after(seen)) is None


@given(st.builds(PackageState, installed=st.booleans(), broken=st.booleans(), ours=st.booleans()))
def test_a_package_is_as_wanted_once_it_was_applied(state: PackageState) -> None:
    package = Package(id="package:x", name="x")
    assert package.diff(package.after(Seen({package.probe: state}))) is None


@given(st.builds(UserState, exists=st.booleans(), group_exists=st.booleans(), uid=st.integers(-1, 3)))
def test_a_user_is_as_wanted_once_it_was_applied(state: UserState) -> None:
    user = SystemUser(id="user:x", name="x", home="/opt/x")
    assert user.diff(user.after(Seen({user.probe: state}))) is None


def running(**more: object) -> Seen:
    """The service runs with today's files, as its record says."""
    record = {UNIT: hashlib.sha256(b"u").hexdigest(), CONF: hashlib.sha256(b"c").hexdigest(), PROGRAM: "1:2:3:4"}
    state = UnitState("loaded", "active", "running", "enabled", invocation="i", record=record)
    return Seen(
        {
            SERVICE.probe: replace(state, **more),  # type: ignore[arg-type]
            PathProbe(UNIT): PathState("file", content=b"u"),
            PathProbe(CONF): PathState("file", content=b"c"),
            PathProbe(PROGRAM, read=False): PathState("link", identity="1:2:3:4"),
        }
    )


def action(seen: Seen) -> str | None:
    change = SERVICE.diff(seen)
    return None if change is None else change.action


def test_what_a_unit_needs_follows_from_its_state() -> None:
    assert action(running()) is None
    assert action(running(record={})) == "restart"  # never recorded: a first takeover
    assert action(running(load="masked")) == "start"
    assert action(running(active="failed")) == "start"
    assert action(running(active="activating", sub="auto-restart")) == "start"
    assert action(running(need_reload=True)) == "run"
    assert action(running(enabled="disabled")) == "run"
    edited = PathState("file", content=b"other")
    assert action(running().put(PathProbe(CONF), edited)) == "reload"
    assert action(running().put(PathProbe(UNIT), edited)) == "restart"
    assert action(running().put(PathProbe(CONF), edited).put(PathProbe(UNIT), edited)) == "restart"
    assert action(running().put(PathProbe(CONF), ABSENT)) == "reload"
    assert action(running().put(PathProbe(PROGRAM, read=False), PathState("link", identity="9"))) == "restart"


def test_a_disabled_unit_is_told_beside_whatever_else_is_to_be_done() -> None:
    edited = PathState("file", content=b"other")
    for seen, reason in (
        (running(need_reload=True, enabled="disabled"), "systemd has not read its files"),
        (running(active="inactive", enabled="disabled"), "stopped"),
        (running(enabled="disabled").put(PathProbe(CONF), edited), "it has not read today's toy.conf"),
        (running(enabled="disabled").put(PathProbe(UNIT), edited), "it runs with an earlier toy.service"),
    ):
        change = SERVICE.diff(seen)
        assert change is not None
        assert change.reason == f"{reason}; disabled: it would not start at boot"
        assert "systemctl enable" in Service.apply([(SERVICE, change)])


@pytest.mark.parametrize("load", ["not-found", "masked"])
def test_a_unit_that_cannot_be_enabled_is_not_called_disabled(load: str) -> None:
    change = SERVICE.diff(running(load=load, active="inactive", enabled=""))
    assert change is not None
    assert "disabled" not in change.reason


def test_a_stopped_unit_without_which_nobody_reaches_it_is_started_with_it() -> None:
    service = replace(SERVICE, along=("toy.socket",))
    states = (PathState("file", content=b"unit"), PathState("file", content=b"conf"), PathState("link", identity="1"))
    seen = Seen(dict(zip(service._input_probes().values(), states, strict=True)))
    seen = service.after(seen)
    assert service.diff(seen) is None
    closed = seen.put(UnitProbe("toy.socket"), UnitState("masked", "inactive"))
    change = service.diff(closed)
    assert change == Change("start", "toy.socket is stopped", title="toy.service")
    assert service.diff(service.after(closed)) is None
    assert "unmask -q toy.socket" in Service.apply([(service, change)])


def test_a_hidden_mark_is_called_by_what_it_marks() -> None:
    marker = "/opt/x/1.0/.complete"
    service = replace(SERVICE, links=(marker,))
    seen = running().put(PathProbe(marker, read=False), PathState("file", identity="9"))
    change = service.diff(seen)
    assert change is not None
    assert change.reason == "it runs with an earlier /opt/x/1.0"


def test_units_are_told_apart_by_name_whatever_order_and_aliases_they_come_in() -> None:
    output = (
        b"100.0\nId=maria.service\nNames=maria.service mysql.service\nLoadState=loaded\nActiveState=active\n\n"
        b"Id=b.service\nNames=b.service\nLoadState=masked\nActiveState=inactive\n"
    )
    probes = [UnitProbe("a.service"), UnitProbe("b.service"), UnitProbe("mysql.service")]
    seen = probe.read(probe.by_kind(probes), [script.Frame("probe", "units", 0, output)])
    assert [seen[p].load for p in probes] == ["not-found", "masked", "loaded"]


def test_a_record_counts_only_for_the_invocation_that_wrote_it() -> None:
    def seen(invocation: bytes) -> UnitState:
        show = b"5\nId=toy.service\nNames=toy.service\nInvocationID=" + invocation + b"\n"
        data = show + b"record toy.service\nabc\ndigest  /etc/toy.conf\n"
        return probe.read(probe.by_kind([SERVICE.probe]), [script.Frame("probe", "units", 0, data)])[SERVICE.probe]

    assert seen(b"abc").record == {"/etc/toy.conf": "digest"}
    assert seen(b"abd").record == {}


@pytest.mark.parametrize("name", ["foo@.service", "a b.service", "x", "../x.service", "-x", "x.service;id"])
def test_names_that_are_no_unit_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a unit"):
        UnitProbe(name)


def test_the_scripts_of_services_packages_and_users_pass_shellcheck() -> None:
    package = Package(id="package:x", name="x", before="echo before")
    user = SystemUser(id="user:x", name="x y", home="/opt/x")
    changes = [
        Planned(package, Change("create", "absent")),
        Planned(user, Change("create", "absent")),
        *(Planned(SERVICE, Change(act, "why")) for act in ("start", "restart", "reload", "run")),
    ]
    assert lint(batch.compose(changes, "0" * 32, "T")) == ""


def test_the_reason_of_a_failure_is_what_the_program_said() -> None:
    tail = "the config says bad\ntoy.service: Main process exited, code=exited\nStarted toy.service - toy.\n"
    assert batch.reason(tail) == "the config says bad"
    assert batch.reason("toy.service: Failed with result 'timeout'.\n") == "toy.service: Failed with result 'timeout'."
