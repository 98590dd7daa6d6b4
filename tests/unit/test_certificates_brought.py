"""A certificate that the operator brings along: what is refused, and in which words."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certs import Authority, der, ec_key, rsa_key
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from provisioner import secret_kinds, vault
from provisioner.certificates import brought
from provisioner.certificates.material import OWN, Material, unpack
from provisioner.commands.certificate import taken
from provisioner.errors import ProvisionError, Refused, UsageError
from provisioner.settings import Recorded, effective

ROOT = Authority.new()
NAME = "mlflow.example.com"


def pem(*ders: bytes) -> str:
    return "".join(map(ssl.DER_cert_to_PEM_cert, ders))


class Files:
    """cert.pem, key.pem and ca.pem of a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, key: bytes | str, *chain: bytes, ca: bytes | None = None) -> dict[str, str]:
        text = key if isinstance(key, str) else Authority.key_pem(key)
        (self.folder / "key.pem").write_text(text)
        (self.folder / "cert.pem").write_text("# Somebody's words\n" + pem(*chain))
        found = {name: str(self.folder / f"{name}.pem") for name in ("cert", "key")}
        if ca is not None:
            (self.folder / "ca.pem").write_text(pem(ca))
            found["ca"] = str(self.folder / "ca.pem")
        return found


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def refused(files: dict[str, str], names: tuple[str, ...] = (NAME,)) -> ProvisionError:
    with pytest.raises(ProvisionError) as caught:
        brought.judge(brought.read(files), names, files["cert"])
    assert caught.value.what
    assert caught.value.why or caught.value.next
    return caught.value


@pytest.mark.parametrize("key", [ec_key(), rsa_key(2048), ec.generate_private_key(ec.SECP384R1())], ids=str)
def test_a_good_one_with_a_private_root_is_taken(files: Files, key: object) -> None:
    between = Authority.new(under=ROOT)
    private, leaf = between.leaf([NAME, "*.team.example", "10.0.0.1"], key=key)
    found = brought.read(files(private, leaf, between.der, ca=ROOT.der))
    assert found == Material(private, (leaf, between.der), (ROOT.der,))
    brought.judge(found, (NAME, "a.team.example", "10.0.0.1"), "x")
    assert brought.uncovered(found, (NAME, "b.example", "10.0.0.2")) == ["b.example", "10.0.0.2"]
    assert brought.days(found) == 89
    assert unpack(found.pack()) == found


def test_a_root_at_the_end_of_the_chain_is_what_clients_must_trust_and_is_not_sent(files: Files) -> None:
    key, leaf = ROOT.leaf([NAME])
    found = brought.read(files(key, leaf, ROOT.der))
    assert (found.chain, found.roots) == ((leaf,), (ROOT.der,))
    brought.judge(found, (NAME,), "x")


def test_a_certificate_that_signed_itself_is_its_own_root(files: Files) -> None:
    own = Authority.new()
    _, alone = own.leaf([NAME], key=own.key, subject=own.certificate.subject)
    found = brought.read(files(der(own.key), alone))
    assert found.chain == found.roots == (alone,)
    brought.judge(found, (NAME,), "x")


NOW = datetime.now(UTC)


def test_what_clients_refuse_is_refused_with_the_way_on(files: Files) -> None:
    between = Authority.new(under=ROOT)
    key, leaf = between.leaf([NAME])
    past, later = NOW - timedelta(days=3), NOW + timedelta(days=3)
    weak = rsa_key(1024)
    curve = ec.generate_private_key(ec.SECP256K1())
    edwards = ed25519.Ed25519PrivateKey.generate()
    cases = [
        ("over since", files(*between.leaf([NAME], until=past), between.der, ca=ROOT.der)),
    ]
    for words, given in cases:
        assert words in refused(given).what
    for words, arguments in {
        "not valid before": (*between.leaf([NAME], since=later), between.der),
        "is not for": (*between.leaf(["b.example"]), between.der),
        "does not lead to a root": (key, leaf),
        "is not the one of": (der(ec_key()), leaf, between.der),
        "begins with another": (key, between.der, leaf),
        "did not issue the one before": (key, leaf, Authority.new().der, between.der),
    }.items():
        error = refused(files(*arguments, ca=ROOT.der))
        assert words in error.what, error.what
        assert error.exit == 4
        assert error.next
    for key_of, words in ((weak, "1024 bits"), (curve, "secp256k1"), (edwards, "neither RSA")):
        private, leaf = between.leaf([NAME], key=key_of)
        error = refused(files(private, leaf, between.der, ca=ROOT.der))
        assert words in error.why
    lacking = refused(files(*ROOT.leaf([NAME])))
    assert 'ca = "ROOT.pem"' in lacking.next


def test_an_encrypted_key_is_said_to_be_one_and_nobody_is_asked_for_its_passphrase(files: Files) -> None:
    key = ec_key()
    _, leaf = ROOT.leaf([NAME], key=key)
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        text = key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"x" * 8)).decode()
        error = refused(files(text, leaf, ca=ROOT.der))
        assert "is encrypted" in error.what
        assert error.exit == 4
        assert "openssl pkey" in error.next


HOSTILE = [
    b"",
    b"\0" * 100,
    b"-----BEGIN CERTIFICATE-----\n",
    b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
    b"0\x82\x01\x0a" + b"x" * 200,
    b"x" * 70_000,
    b"\x1b[31m$(reboot)",
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("which", ["cert", "key", "ca"])
def test_a_file_of_anything_else_is_a_usage_error_that_names_it(files: Files, which: str, content: bytes) -> None:
    given = files(*ROOT.leaf([NAME]), ca=ROOT.der)
    Path(given[which]).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        brought.read(given)
    assert given[which] in caught.value.what
    assert "\x1b" not in caught.value.what + caught.value.why + caught.value.next


def test_a_file_that_is_not_there_or_no_file_is_a_usage_error(files: Files, tmp_path: Path) -> None:
    given = files(*ROOT.leaf([NAME]), ca=ROOT.der)
    for path in (tmp_path / "none", tmp_path, Path("/dev/zero")):
        with pytest.raises(UsageError) as caught:
            brought.read({**given, "key": str(path)})
        assert str(path) in caught.value.what


# --- into the secrets


def decided(
    tls: object, kept: vault.Vault | None = None, recorded: Recorded | None = None
) -> tuple[vault.Decision, list[str]]:
    settings = effective({"access.tls": tls, "access.names": (NAME,)}, {}, recorded)
    decision = vault.reconcile(kept, kept, "h", secret_kinds.wanted(settings))
    return taken(decision, settings, recorded, (NAME,), "--host h")


def test_it_is_kept_with_the_secrets_so_that_a_run_without_the_files_has_it(files: Files) -> None:
    given = files(*ROOT.leaf([NAME]), ca=ROOT.der)
    first, _ = decided(given)
    assert OWN in first.to_host
    assert OWN in first.to_controller
    assert first.vault.entries[OWN].generation == 1
    again, _ = decided(given, first.vault)
    assert (again.vault, again.to_host) == (first.vault, ())
    without, _ = decided("own", first.vault, Recorded("h", {"access.tls": "own", "access.names": (NAME,)}))
    assert without.vault == first.vault


def test_a_renewed_file_is_one_generation_up_and_an_older_one_is_not_taken(files: Files) -> None:
    old = ROOT.leaf([NAME], since=NOW - timedelta(days=9))
    new = ROOT.leaf([NAME], since=NOW - timedelta(days=1))
    first, _ = decided(files(*old, ca=ROOT.der))
    second, _ = decided(files(*new, ca=ROOT.der), first.vault)
    assert second.vault.entries[OWN].generation == 2
    used = Recorded("h", {"access.tls": "own", "access.names": (NAME,)})
    third, said = decided(files(*old, ca=ROOT.der), second.vault, used)
    assert third.vault == second.vault
    assert "is older" in said[0]
    fourth, said = decided(files(*old, ca=ROOT.der), second.vault)
    assert (fourth.vault.entries[OWN].generation, said) == (3, []), "it is chosen anew: what is named counts"


def test_its_end_is_warned_of_and_none_at_all_is_refused(files: Files) -> None:
    _, said = decided(files(*ROOT.leaf([NAME], until=NOW + timedelta(days=20, hours=12)), ca=ROOT.der))
    assert said == ["the certificate ends in 20 days: renew it and run again"]
    with pytest.raises(Refused) as caught:
        decided("own")
    assert caught.value.exit == 4


def test_another_name_needs_another_certificate(files: Files) -> None:
    first, _ = decided(files(*ROOT.leaf([NAME]), ca=ROOT.der))
    settings = effective({"access.tls": "own", "access.names": ("b.example",)}, {})
    recorded = Recorded("h", {"access.tls": "own", "access.names": (NAME,)})
    with pytest.raises(Refused) as caught:
        taken(first, settings, recorded, ("b.example",), "--host h")
    assert "not for b.example" in caught.value.what
