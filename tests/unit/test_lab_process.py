from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.errors import Locked, Refused
from provisioner.lab import layers, machine, packagecache, places, process
from provisioner.lab.spec import Spec


def test_a_program_name_with_blanks_and_parentheses_does_not_shift_the_fields() -> None:
    fields = " ".join(str(number) for number in range(4, 53))
    assert process.parse_stat(f"12 (a) b (c)) S {fields}") == ("S", 22)


def test_a_recycled_process_id_is_another_process() -> None:
    own = process.identify(os.getpid())
    assert own is not None
    assert process.alive(own)
    assert not process.alive(process.Identity(own.pid, own.start + 1, own.boot))
    assert not process.alive(process.Identity(own.pid, own.start, "another boot of the machine"))


def test_a_stranger_with_a_recorded_id_is_not_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_clear", lambda name: None)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        seen = process.identify(child.pid)
        assert seen is not None
        process.end("web1", process.Identity(seen.pid, seen.start - 1, seen.boot), seconds=0.1)
        assert child.poll() is None
        process.end("web1", seen, seconds=5)
        assert child.wait(5) in (-signal.SIGTERM, 0)
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STATE", "IMAGES", "LAYERS", "HOSTS", "SSH", "CACHE", "LOCKS"):
        monkeypatch.setattr(places, name, tmp_path / name.lower())
    monkeypatch.setattr(layers, "LAYERS", places.LAYERS)
    monkeypatch.setattr(layers, "HOSTS", places.HOSTS)
    monkeypatch.setattr(packagecache, "CACHE", places.CACHE)
    places.prepare()
    return tmp_path


def test_a_held_lock_is_waited_for_and_then_named(state: Path) -> None:
    with places.locked("x"), pytest.raises(Locked, match="'x'"), places.locked("x", seconds=0.0):
        pass
    with places.locked("x", seconds=0.0):
        pass


def test_a_child_that_inherits_a_lock_holds_it_after_its_parent_let_go(state: Path) -> None:
    with places.locked("image") as descriptor:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(descriptor,))
    try:
        with pytest.raises(Locked), places.locked("image", seconds=0.0):
            pass
    finally:
        child.kill()
        child.wait()
    with places.locked("image", seconds=1.0):
        pass


def test_a_layer_carries_what_stood_below_it_and_is_not_deleted_under_another(state: Path) -> None:
    upper = state / "upper"
    upper.mkdir()
    (upper / "mark").write_text("1")
    first = layers.freeze(upper, Spec("web1", "10.151.0.1", lower=("/image",)), "base")
    second = layers.freeze(upper, Spec("web1", "10.151.0.1", lower=first.lower), "base")
    assert second.lower == (str(state / "layers" / second.id / "upper"), *first.lower)
    assert (Path(first.lower[0]) / "mark").read_text() == "1"
    assert layers.find("base") == second
    with pytest.raises(Refused, match="in use"):
        layers.remove(first)
    layers.remove(second)
    layers.remove(first)
    assert layers.known() == []


def test_packages_travel_from_one_host_to_the_next_without_being_shared(state: Path) -> None:
    archives = state / "web1" / "var/cache/apt/archives"
    archives.mkdir(parents=True)
    (archives / "a_1_amd64.deb").write_bytes(b"deb")
    (archives / "lock").write_bytes(b"")
    packagecache.harvest(state / "web1")
    packagecache.harvest(state / "web1")
    packagecache.seed(state / "web2")
    assert [path.name for path in (state / "web2/var/cache/apt/archives").iterdir()] == ["a_1_amd64.deb"]


def test_an_apt_that_finds_the_package_is_not_asked_to_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _apt(monkeypatch, [0])
    machine.install(["nftables"])
    assert calls == ["install"]


def test_a_refresh_that_fails_does_not_stop_an_install_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _apt(monkeypatch, [100, 100, 0])
    machine.install(["nftables"])
    assert calls == ["install", "update", "install"]


def test_a_machine_without_apt_is_told_what_to_use_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_present", lambda program: False)
    with pytest.raises(Refused) as caught:
        machine.install(["nftables"])
    assert "nftables" in caught.value.why
    assert "real server" in caught.value.next


@pytest.mark.parametrize(("system", "user", "words"), [("Darwin", 0, "Linux"), ("Linux", 1000, "root")])
def test_a_machine_that_cannot_start_hosts_says_so(
    system: str, user: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("os.geteuid", lambda: user)
    with pytest.raises(Refused, match=words):
        machine.require()


def _apt(monkeypatch: pytest.MonkeyPatch, codes: list[int]) -> list[str]:
    calls: list[str] = []
    left = iter(codes)

    def run(argv: tuple[str, ...], **options: object) -> subprocess.CompletedProcess[str]:
        calls.append("install" if "install" in argv else "update")
        return subprocess.CompletedProcess(argv, next(left), "", "")

    monkeypatch.setattr(machine, "run", run)
    monkeypatch.setattr(machine, "_present", lambda program: True)
    return calls
