from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner import secret_kinds, state, vault
from provisioner.errors import Exit, Refused, UsageError
from provisioner.secrets import Secret
from provisioner.vault import Entry, Vault

values = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=8, max_size=40).filter(
    lambda value: len(value.encode()) <= 72
)
free_names = st.sampled_from(["login", "database.password", "mlflow.later", "store.user.secret"])


def _vault(entries: dict[str, tuple[str, int]]) -> Vault:
    return Vault("h", {name: Entry(Secret(v), g) for name, (v, g) in sorted(entries.items())})


vaults = st.dictionaries(free_names, st.tuples(values, st.integers(1, 4))).map(_vault)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@given(vaults)
def test_a_document_is_read_back_as_it_was_written(one: Vault) -> None:
    text = vault.serialise(one)
    assert vault.parse(text, "x") == one
    assert vault.serialise(vault.parse(text, "x")) == text
    assert text.isascii()


@given(vaults, vaults)
def test_reconciling_takes_the_newer_value_and_is_done_after_copying(host: Vault, copy: Vault) -> None:
    try:
        decision = vault.reconcile(host, copy, "h")
    except Refused:
        assert any(
            host.entries[n].generation == copy.entries[n].generation and host[n] != copy[n]
            for n in host.entries.keys() & copy.entries.keys()
        )
        return
    decided = decision.vault
    assert set(secret_kinds.MADE) <= set(decided.entries)
    for name, entry in decided.entries.items():
        seen = [side.entries[name] for side in (host, copy) if name in side.entries]
        if seen:
            assert entry in seen
            assert entry.generation == max(each.generation for each in seen)
        else:
            assert name in decision.generated
    again = vault.reconcile(decided, decided, "h")
    assert (again.vault, again.to_host, again.to_controller, again.generated) == (decided, (), (), ())


@given(vaults, vaults)
def test_which_side_is_asked_first_makes_no_difference(host: Vault, copy: Vault) -> None:
    try:
        one = vault.reconcile(host, copy, "h", names=())
    except Refused:
        with pytest.raises(Refused):
            vault.reconcile(copy, host, "h", names=())
        return
    other = vault.reconcile(copy, host, "h", names=())
    assert one.vault == other.vault
    assert (one.to_host, one.to_controller) == (other.to_controller, other.to_host)


def test_a_fresh_stack_gets_every_secret_on_both_sides() -> None:
    decision = vault.reconcile(None, None, "h")
    assert decision.generated == decision.to_host == decision.to_controller == tuple(sorted(secret_kinds.MADE))
    assert not decision.rebuilt
    for name in secret_kinds.MADE:
        secret_kinds.check(name, decision.vault[name].reveal())


def test_a_rebuilt_host_gets_the_operators_values() -> None:
    before = vault.reconcile(None, None, "h").vault
    decision = vault.reconcile(None, before, "h")
    assert decision.vault == before
    assert decision.rebuilt
    assert decision.to_host == tuple(before.entries)
    assert decision.to_controller == decision.generated == ()


def test_a_second_operator_gets_the_hosts_values() -> None:
    before = vault.reconcile(None, None, "h").vault
    decision = vault.reconcile(before, None, "h")
    assert (decision.vault, decision.to_host) == (before, ())
    assert decision.to_controller == tuple(before.entries)


def test_another_way_to_call_the_host_changes_no_document() -> None:
    host = vault.reconcile(None, None, "10.0.0.1").vault
    decision = vault.reconcile(host, None, "web")
    assert vault.serialise(decision.vault) == vault.serialise(host)
    assert vault.write_controller(decision.vault) == vault.controller_file("web")
    copy, _ = vault.read_controller("web")
    assert copy is not None
    assert vault.write_controller(copy) == vault.controller_file("web")


def test_two_different_values_of_one_generation_stop_the_run_with_both_choices() -> None:
    with pytest.raises(Refused) as caught:
        vault.reconcile(_vault({"login": ("aaaaaaaa", 1)}), _vault({"login": ("bbbbbbbb", 1)}), "h")
    error = caught.value
    assert error.exit == Exit.REFUSED
    assert "login" in error.what
    assert "secrets import --host h" in error.next
    assert "mv " in error.next
    assert "aaaaaaaa" not in f"{error.what}{error.why}{error.next}"


def test_importing_this_machines_copy_decides_a_conflict() -> None:
    host, mine = _vault({"login": ("aaaaaaaa", 1)}), _vault({"login": ("bbbbbbbb", 1), "mlflow.kek": ("k" * 20, 2)})
    with pytest.raises(vault.Conflict) as caught:
        vault.reconcile(host, mine, "h")
    merged = vault.imported(caught.value.controller, mine, caught.value.host)
    decision = vault.reconcile(host, merged, "h", names=())
    assert decision.vault["login"] == Secret("bbbbbbbb")
    assert decision.to_host == ("login", "mlflow.kek")


def test_importing_the_hosts_export_decides_it_the_other_way() -> None:
    host, mine = _vault({"login": ("aaaaaaaa", 1)}), _vault({"login": ("bbbbbbbb", 1)})
    merged = vault.imported(mine, host, host)
    assert vault.reconcile(host, merged, "h", names=()).vault["login"] == Secret("aaaaaaaa")


def test_an_imported_document_wins_over_both_sides() -> None:
    host = _vault({"login": ("aaaaaaaa", 3), "mlflow.later": ("kept-kept", 1)})
    mine = _vault({"login": ("bbbbbbbb", 3)})
    won = vault.imported(host, mine)
    assert vault.reconcile(host, won, "h", names=()).vault["login"] == Secret("bbbbbbbb")
    assert won["mlflow.later"] == Secret("kept-kept")
    assert vault.imported(won, won) == won


def test_a_changed_secret_is_newer_than_before() -> None:
    before = _vault({"login": ("aaaaaaaa", 3)})
    assert vault.changed(before, "login", Secret("cccccccc")).entries["login"].generation == 4
    assert vault.changed(before, "mlflow.kek", Secret("c" * 20)).entries["mlflow.kek"].generation == 1


@pytest.mark.parametrize("value", ['it\'s "50%" $x `y` \\', "пароль пароль", "  spaces  ", "😀😀😀😀😀😀😀😀"])
def test_a_password_may_hold_anything_printable(value: str) -> None:
    assert secret_kinds.check("database.password", value).reveal() == value


@pytest.mark.parametrize(
    "value",
    ["line\nbreak!!", "carriage\rret", "\0\0\0\0\0\0\0\0\0", "a\x1b[2Jbbbbbb", "a\u2028bbbbbbb", "short", "x" * 300],
)
def test_a_password_with_control_characters_or_a_wrong_length_is_refused_unseen(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        secret_kinds.check("database.password", value)
    assert value not in caught.value.what


def test_store_names_hold_to_what_minio_takes() -> None:
    for value in ("ab", "a" * 129, "a=b=c", "a,b,c", "a b c"):
        with pytest.raises(UsageError):
            secret_kinds.check("store.user.key", value)
    # That it is no longer than this store takes is looked at once it is known which store (test_external_store).
    with pytest.raises(UsageError):
        secret_kinds.check("store.root.user", "a" * 21)


HOSTILE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"schema": 1}',
    b'{"schema": true, "stack": "h", "secrets": {}}',
    b'{"schema": NaN, "stack": "h", "secrets": {}}',
    b'{"schema": 1, "stack": "", "secrets": {}}',
    b'{"schema": 1, "stack": "a\\u0000b", "secrets": {}}',
    b'{"schema": 1, "stack": "h", "secrets": []}',
    b'{"schema": 1, "stack": "h", "secrets": {"login": "plaintext-secret"}}',
    b'{"schema": 1, "stack": "h", "secrets": {"login": {"value": "plaintext-secret"}}}',
    b'{"schema": 1, "stack": "h", "secrets": {"login": {"value": "plaintext-secret", "generation": 0}}}',
    b'{"schema": 1, "stack": "h", "secrets": {"login": {"value": "plaintext-secret", "generation": 1e9}}}',
    b'{"schema": 1, "stack": "h", "secrets": {"login": {"value": "plaintext\\nsecret", "generation": 1}}}',
    b'{"schema": 1, "stack": "h", "secrets": {"login": {"value": 12345678, "generation": 1}}}',
    b'{"schema": 1, "stack": "h", "secrets": {"../x": {"value": "plaintext-secret", "generation": 1}}}',
    b'{"schema": 1, "stack": "h", "stack": "g", "secrets": {}}',
    b'{"schema": 2, "stack": "h", "secrets": {}}',
    b"[" * 100_000,
    b" " * (vault.LIMIT + 1),
]


@pytest.mark.parametrize("raw", HOSTILE)
def test_a_document_that_this_tool_did_not_write_is_refused_without_showing_it(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        vault.parse(raw, "/etc/provision/secrets.json on h")
    shown = f"{caught.value.what} {caught.value.why} {caught.value.next}"
    assert "/etc/provision/secrets.json on h" in shown
    assert "plaintext" not in shown


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_fail_otherwise(raw: bytes) -> None:
    with pytest.raises(Refused):
        vault.parse(raw, "x")


def test_the_operators_copy_is_private_and_replaced_as_a_whole() -> None:
    assert vault.read_controller("h") == (None, None)
    one = vault.reconcile(None, None, "h").vault
    path = vault.write_controller(one)
    assert vault.read_controller("h") == (one, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["secrets.json"]


def test_a_copy_open_to_others_is_closed_and_said_so() -> None:
    path = vault.write_controller(vault.reconcile(None, None, "h").vault)
    path.chmod(0o644)
    _, warning = vault.read_controller("h")
    assert warning is not None
    assert "open to other users" in warning
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert vault.read_controller("h")[1] is None


def test_a_link_or_a_pipe_in_place_of_the_copy_is_refused(tmp_path: Path) -> None:
    path = vault.controller_file("h")
    state.make_private(path.parent)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        vault.read_controller("h")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Refused):
        vault.read_controller("h")


@pytest.mark.parametrize("stack", ["", "..", ".hidden", "a/b", "a\0b", "x" * 300])
def test_a_stack_name_cannot_leave_the_state_folder(stack: str) -> None:
    with pytest.raises(UsageError):
        vault.controller_file(stack)


def test_stack_ids_are_directory_safe_and_distinct() -> None:
    addresses = [("10.151.0.1", None), ("10.151.0.1", 2222), ("fd00::1", None), ("fd00::1", 22), ("web_1", None)]
    ids = [state.stack_id(*each) for each in addresses]
    assert ids == ["10.151.0.1", "10.151.0.1+2222", "fd00%3A%3A1", "fd00%3A%3A1", "web_1"]


@given(st.text(min_size=1, max_size=50))
def test_no_address_escapes_or_collides_with_a_port(address: str) -> None:
    try:
        name = state.stack_id(address)
    except (UsageError, UnicodeEncodeError):
        return
    assert "/" not in name
    assert "+" not in name
    assert not name.startswith(".")


def test_secrets_stay_out_of_repr() -> None:
    one = vault.reconcile(None, None, "h").vault
    assert all(json.dumps(entry.value.reveal()) not in repr(one) for entry in one.entries.values())
    assert "(secret)" in repr(one)
