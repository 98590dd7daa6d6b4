"""A root of the stack's own, what it lets a host certify, and the script that does."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
import shells
from certs import Authority, der
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from provisioner.certificates import authority, handshake, inspect
from provisioner.certificates.material import Material, blocks, certificates, trusted, unpack
from provisioner.runtime import programs
from provisioner.secrets import Secret
from provisioner.steps.host_certificates import HostCertificate, table

ROOT = unpack(authority.new_root())
NAMES = ("mlflow.example.com", "10.151.0.1", "fd00::1")
SCRIPT = programs.text("tls_renew.sh")

_label = st.from_regex(r"[a-z]([a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
_name = st.one_of(
    st.lists(_label, min_size=2, max_size=4).map(".".join),
    st.ip_addresses().map(str),
)


def held(issuer: Material) -> Authority:
    """The issuer in the hands of somebody who certifies what he likes with it."""
    return Authority.of(issuer.pem().encode())


def accepted(issuer: Material, name: str) -> bool:
    """Whether a client that trusts the root accepts a certificate for `name` from this issuer."""
    key, leaf = held(issuer).leaf([name])
    return handshake.fault(Material(key, (leaf, *issuer.chain), ROOT.chain), name) is None


@given(st.lists(_name, min_size=1, max_size=4, unique=True), _name)
def test_clients_accept_the_issuer_s_certificates_for_its_names_and_for_no_other(names: list[str], other: str) -> None:
    issuer = authority.issuer(ROOT, tuple(names))
    assert all(accepted(issuer, name) for name in names)
    # A permitted DNS name permits what is below it, too: whoever owns a name owns that.
    below = any(other == name or other.endswith(f".{name}") for name in names)
    assert accepted(issuer, other) == below


def test_the_issuer_cannot_make_issuers() -> None:
    issuer = authority.issuer(ROOT, ("mlflow.example.com",))
    below = Authority.new(under=held(issuer))
    key, leaf = below.leaf(["mlflow.example.com"])
    fault = handshake.fault(Material(key, (leaf, below.der, *issuer.chain), ROOT.chain), "mlflow.example.com")
    assert fault is not None
    assert "path length" in fault.text


def test_material_is_one_printable_line_and_comes_back_as_it_was() -> None:
    whole = Material(b"key\0", (b"leaf", b"issuer"), (b"root",))
    line = whole.pack()
    assert line.reveal().isprintable()
    assert unpack(line) == whole
    assert "key" not in repr(whole)
    assert unpack(Material(b"k", (b"c",)).pack()).roots == ()


@pytest.mark.parametrize(
    "text", ["", ":", "a", "a:b", "a:b:c:d", ":YQ==:", "YQ==::", "YQ==:!:", "\u00e9:YQ==:", "YQ:YQ==:"]
)
def test_what_is_no_material_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        unpack(Secret(text))
    assert len(text) < 4 or text not in str(caught.value)


def test_which_roots_clients_trust_follows_from_the_kind_of_tls() -> None:
    secrets = {"tls.root": ROOT.pack(), "tls.own": Material(b"k", (b"c",), (b"r",)).pack()}
    assert trusted("off", secrets) is None
    assert trusted("internal", secrets) == certificates(ROOT.chain)
    assert trusted("own", secrets) == certificates((b"r",))
    assert trusted("own", {"tls.own": Material(b"k", (b"c",)).pack()}) is None, "a public root"
    assert trusted("internal", {}) == trusted("internal", {"tls.root": Secret("guessed0")}) == ""


def test_blocks_of_a_hostile_text_are_bounded() -> None:
    assert blocks(b"-----BEGIN CERTIFICATE-----\n" * 5000) == []
    assert blocks(b"-----BEGIN A-----\nx\n-----END B-----\n") == []
    assert inspect.bundle(b"\xff" * 10_000) is None
    assert inspect.bundle(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n") is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a run writes to a host."""
    placed(tmp_path, NAMES)
    return tmp_path


def placed(folder: Path, names: tuple[str, ...]) -> None:
    (folder / "root.crt").write_text(certificates(ROOT.chain))
    (folder / "issuer.pem").write_text("# Written by provision.\n" + authority.issuer(ROOT, names).pem())
    listed(folder, names)


def listed(folder: Path, names: tuple[str, ...], *others: str) -> None:
    """What is renewed: the door, and `others` each in a folder of its own."""
    door = HostCertificate("door", "the URL", f"{folder}/door.pem", names, "nginx.service")
    more = [HostCertificate(each, each, f"{folder}/{each}/it.pem", names, f"{each}.service", each) for each in others]
    (folder / "names").write_text(table([door, *more]))


def renew(shell: list[str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*shell, "-s", *arguments] if shell[0] != "busybox" else ["busybox", "sh", "-s", *arguments],
        input=SCRIPT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PROVISION_TLS": str(folder)},
        check=False,
    )


def fault(folder: Path, names: tuple[str, ...] = NAMES, least: int = 25) -> str:
    door, issuer = ((inspect.bundle((folder / f"{name}.pem").read_bytes())) for name in ("door", "issuer"))
    assert door is not None
    assert issuer is not None
    return inspect.leaf_fault(door, issuer, names, least)


def test_the_script_is_good_posix_shell() -> None:
    assert shells.lint(SCRIPT) == ""


@pytest.mark.parametrize("shell", shells.SHELLS, ids=" ".join)
def test_a_host_makes_its_certificate_and_renews_it_in_time(shell: list[str], folder: Path) -> None:
    first = renew(shell, folder)
    assert first.returncode == 0, first.stderr
    assert fault(folder) == ""
    assert stat.S_IMODE((folder / "door.pem").stat().st_mode) == 0o600
    made = (folder / "door.pem").read_bytes()
    key, leaf, issuer = (block for _, block in blocks(made))
    as_clients_see_it = Authority.ders((leaf + issuer).decode())
    whole = Material(der(load_pem_private_key(key, None)), tuple(as_clients_see_it), ROOT.chain)
    assert [handshake.fault(whole, name) for name in NAMES] == [None] * 3

    assert renew(shell, folder).stdout == "", "89 days are left"
    assert renew(shell, folder, "80").stdout == ""
    assert (folder / "door.pem").read_bytes() == made
    again = renew(shell, folder, "91")
    assert again.returncode == 0, again.stderr
    assert "90 days" in again.stdout
    assert (folder / "door.pem").read_bytes() != made
    assert sorted(path.name for path in folder.iterdir()) == ["door.pem", "issuer.pem", "names", "root.crt"]


def test_other_names_or_another_issuer_bring_a_new_one_at_once(folder: Path) -> None:
    renew(["dash"], folder)
    placed(folder, ("other.example",))
    assert fault(folder, ("other.example",)) == "today's issuer did not sign it"
    assert renew(["dash"], folder).returncode == 0
    assert fault(folder, ("other.example",)) == ""


def test_what_clients_would_refuse_never_takes_the_place_of_what_is_there(folder: Path) -> None:
    renew(["dash"], folder)
    before = (folder / "door.pem").read_bytes()
    listed(folder, ("evil.example",))
    done = renew(["dash"], folder)
    assert done.returncode != 0
    assert "permitted subtree violation" in done.stderr + done.stdout
    assert (folder / "door.pem").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["door.pem", "issuer.pem", "names", "root.crt"]


@pytest.mark.parametrize("shell", shells.SHELLS, ids=" ".join)
def test_each_certificate_is_made_for_itself_and_one_that_fails_keeps_no_other_from_its_turn(
    shell: list[str], folder: Path
) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres").chmod(0o2750)
    listed(folder, NAMES, "postgres", "gone")
    only = renew(shell, folder, "36500", f"{folder}/postgres/it.pem")
    assert only.returncode == 0, only.stderr
    assert not (folder / "door.pem").exists()
    assert stat.S_IMODE((folder / "postgres" / "it.pem").stat().st_mode) == 0o640
    assert renew(shell, folder).returncode == 0, "what has no folder is not there yet"
    keys = [blocks(path.read_bytes())[0] for path in (folder / "door.pem", folder / "postgres" / "it.pem")]
    assert keys[0] != keys[1], "a key of its own"

    door, other = (folder / "door.pem").read_bytes(), (folder / "postgres" / "it.pem").read_bytes()
    text = (folder / "names").read_text()
    broken = "".join(
        line.replace("mlflow.example.com", "evil.example") if "/door.pem" in line else line
        for line in text.splitlines(keepends=True)
    )
    (folder / "names").write_text(broken)
    done = renew(shell, folder, "91")
    assert done.returncode == 1, done.stderr
    assert (folder / "door.pem").read_bytes() == door
    assert (folder / "postgres" / "it.pem").read_bytes() != other
    assert not list(folder.rglob(".new.*")), "nothing half-made is left"


def test_an_issuer_is_replaced_for_what_is_wrong_with_it() -> None:
    def said(material: Material, names: tuple[str, ...] = NAMES, least: int = 180) -> str:
        found = inspect.bundle(material.pem().encode())
        assert found is not None
        return inspect.issuer_fault(found, ROOT, names, least)

    good = authority.issuer(ROOT, NAMES)
    assert said(good) == ""
    assert said(good, ("x.example",)) == "the names are others now"
    assert said(good, least=10_000).startswith("it ends in 18")
    assert said(Material(authority.issuer(ROOT, NAMES).key, good.chain)) == "its key is another one's"
    assert said(unpack(authority.new_root())) == "the stack's root did not sign it"
    free = Authority.new(under=Authority.of(ROOT.pem().encode()))
    assert said(Material(der(free.key), (free.der,))) == "it may certify more than this host"
