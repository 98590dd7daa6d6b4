"""Accounts: names, passwords, and their place among the secrets."""

from __future__ import annotations

import io

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner import accounts, secret_kinds, vault
from provisioner import settings as layers
from provisioner.commands import user
from provisioner.errors import Refused, UsageError
from provisioner.secrets import Secret
from provisioner.steps import proxy_login
from provisioner.vault import Entry, Vault

ANNA = "account.anna"


def held(**entries: Entry) -> Vault:
    return Vault("h", {"account." + name: entry for name, entry in entries.items()})


@pytest.mark.parametrize("name", ["anna", "a", "ben.smith", "x-1_y", "a" * 40])
def test_names_that_are_good(name: str) -> None:
    assert accounts.name(name) == name
    assert accounts.is_secret(accounts.secret_of(name))
    assert accounts.account_of(accounts.secret_of(name)) == name


@pytest.mark.parametrize(
    "name", ["", "a:b", "Anna", "1a", "-a", ".a", "a b", "a\n", "a/b", "a" * 41, "änna", "a#", 'a"', None, 7]
)
def test_names_that_are_refused(name: object) -> None:
    with pytest.raises(ValueError, match="an account's name"):
        accounts.name(name)


def test_the_operators_own_account_is_not_declared() -> None:
    with pytest.raises(ValueError, match="always there"):
        accounts.declared("mlflow")
    with pytest.raises(UsageError, match=r"access\.users"):
        layers_of(["mlflow"])


def layers_of(users: list[str]) -> layers.Settings:
    from provisioner import inventory

    (stack,) = inventory.load(None, [f"access.users={users!r}".replace("'", '"')], ["10.0.0.1"]).stacks
    return layers.effective(stack.flags, {})


def test_declared_accounts_get_a_generated_password_and_those_of_a_stack_without_logins_none() -> None:
    settings = layers_of(["anna", "ben"])
    decision = vault.reconcile(None, None, "h", secret_kinds.wanted(settings))
    assert {ANNA, "account.ben", "login"} <= set(decision.generated)
    assert all(len(decision.vault[name].reveal()) >= 24 for name in ("login", ANNA, "account.ben"))
    open_to_all = layers.effective({"access.auth": "none", "access.users": ("anna",)}, {})
    assert ANNA not in secret_kinds.wanted(open_to_all)


@pytest.mark.parametrize(
    "text", ["short", "x" * 73, "with\ttab and more", "line\nbreak and more", "pässword and more", ""]
)
def test_passwords_that_are_refused_and_never_shown(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        accounts.password(text)
    assert not text or text not in str(vars(caught.value))


def test_a_password_is_read_from_stdin_once_and_without_its_line_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert user.password_given(stdin=True, ask=False).value == Secret("correct horse battery")
    with pytest.raises(UsageError, match="both"):
        user.password_given(stdin=True, ask=True)
    assert len(user.password_given(stdin=False, ask=False).value.reveal()) >= 24


def test_a_removed_account_stays_removed_on_both_sides() -> None:
    there = held(anna=Entry(Secret("anna's password"), 2))
    gone = vault.without(there, ANNA)
    assert (gone.entries[ANNA].generation, gone.live, gone.secrets()) == (3, {}, {})
    for host, copy in ((there, gone), (gone, there)):
        decision = vault.reconcile(host, copy, "h", (ANNA,))
        assert decision.vault.entries[ANNA] == gone.entries[ANNA]
        assert decision.generated == (), "access.users does not bring it back either"
    again = vault.changed(gone, ANNA, Secret("another password"))
    assert again.entries[ANNA] == Entry(Secret("another password"), 4)


def test_a_removal_and_another_password_made_at_once_are_for_a_person_to_decide() -> None:
    there = held(anna=Entry(Secret("anna's password"), 1))
    with pytest.raises(Refused, match=ANNA):
        vault.reconcile(vault.without(there, ANNA), vault.changed(there, ANNA, Secret("another one")), "h", ())


def test_removals_are_written_read_exported_and_imported() -> None:
    gone = vault.without(held(anna=Entry(Secret("anna's password"), 1)), ANNA)
    assert vault.parse(vault.serialise(gone), "x") == gone
    assert "anna's password" not in vault.serialise(gone)
    there = held(anna=Entry(Secret("anna's password"), 7))
    merged = vault.imported(there, gone)
    assert merged.entries[ANNA].removed
    assert merged.entries[ANNA].generation == 8


@pytest.mark.parametrize(
    "text",
    [
        '{"schema":1,"stack":"h","secrets":{"login":{"removed":true,"generation":1}}}',
        '{"schema":1,"stack":"h","secrets":{"account.anna":{"removed":false,"generation":1}}}',
        '{"schema":1,"stack":"h","secrets":{"account.anna":{"removed":true,"value":"xxxxxxxxxxx","generation":1}}}',
        '{"schema":1,"stack":"h","secrets":{"account.Anna":{"value":"xxxxxxxxxxxxxxx","generation":1}}}',
    ],
)
def test_documents_that_this_tool_never_writes_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        vault.parse(text, "x")


def test_a_password_that_bcrypt_would_cut_is_in_no_vault() -> None:
    assert secret_kinds.check(ANNA, "x" * 72)
    for name in (ANNA, "login"):
        with pytest.raises(UsageError):
            secret_kinds.check(name, "ä" * 40)


@given(st.dictionaries(st.sampled_from(["anna", "ben", "cleo"]), st.text("abc \"'$#:", min_size=14, max_size=72)))
def test_every_account_has_one_line_and_its_hash_is_the_passwords(passwords: dict[str, str]) -> None:
    secrets = {"login": Secret("the operator's own"), "mlflow.flask-key": Secret("k" * 48)}
    secrets |= {f"account.{name}": Secret(value) for name, value in passwords.items()}
    head, first, *lines = proxy_login.accounts(secrets).splitlines()
    assert head.startswith("#")
    assert first.startswith("mlflow:")
    found = dict(line.split(":", 1) for line in lines)
    assert list(found) == sorted(passwords)
    for name, digest in found.items():
        assert digest.startswith("$2b$05$")
        assert bcrypt.checkpw(passwords[name].encode(), digest.encode())


def test_two_accounts_with_one_password_have_two_hashes() -> None:
    one = Secret("the same for both of them")
    text = proxy_login.accounts({"account.anna": one, "account.ben": one, "mlflow.flask-key": Secret("k" * 48)})
    assert len({line.split(":", 1)[1] for line in text.splitlines()[1:]}) == 2


def test_names_taken_out_of_the_inventory_and_removed_ones_in_it_are_told() -> None:
    lines = accounts.odd(("ben", "cleo"), ("anna", "ben", "zoe"), ("mlflow", "anna", "ben"), ("cleo",))
    assert len(lines) == 2
    assert "anna stays" in lines[0]
    assert "user remove anna" in lines[0]
    assert "user add cleo" in lines[1]
    assert accounts.odd(("ben",), ("anna",), ("anna",), ("ben",), used=False) == []
