"""Between a `secrets rotate` over hosts in memory that was cut off and the run that finishes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_rotate_hosts import APP, DATA, MORE, Two, errors, here, rotated_but_for, settled, there

from provisioner import vault
from provisioner.commands.rotation import renewed
from provisioner.errors import Exit
from provisioner.resources.s3user import FormerLook
from provisioner.resources.s3user import UserState as StoreUserState
from provisioner.secrets import Secret

FORMER = "store-user-before:mlflow"


@pytest.mark.parametrize(
    ("store", "servers", "lost", "steps", "hosts"),
    [
        (DATA, (), APP, (), (DATA,)),
        (DATA, (), APP, ("bucket",), ()),
        (APP, (MORE,), MORE, ("mlflow",), (APP,)),
    ],
)
def test_the_earlier_key_of_the_store_stays_while_a_server_may_use_it(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    store: str,
    servers: tuple[str, ...],
    lost: str,
    steps: tuple[str, ...],
    hosts: tuple[str, ...],
) -> None:
    stack = Two(monkeypatch, tmp_path, *servers, engine="minio", store=store)
    code, ended = stack.again()
    assert code is Exit.OK, errors(ended)
    before = here()["store.user.key"]
    assert rotated_but_for(stack, stack.hosts[lost], "store.user")[0] is Exit.UNREACHABLE
    assert here()["store.user.before"][0] == before[0]
    assert there(stack.hosts[lost])["store.user.key"] == before
    keeps = stack.hosts[store]
    keeps.put(FormerLook(Secret(before[0])), StoreUserState(True))
    keeps.applied = []
    code, ended = stack.again(*steps, hosts=hosts)
    assert code is Exit.OK, errors(ended)
    assert FORMER not in keeps.applied
    assert "the earlier key of the bucket mlflow stays" in "\n".join(ended.results[store].warnings)
    code, ended = stack.again()
    assert code is Exit.OK, errors(ended)
    assert keeps.applied[-1] == FORMER
    assert there(stack.hosts[lost])["store.user.key"] == here()["store.user.key"]
    settled(stack)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Two:
    """With a newer password of the database on this machine only."""
    made = Two(monkeypatch, tmp_path)
    code, ended = made.again()
    assert code is Exit.OK, errors(ended)
    kept, _ = vault.read_controller(APP)
    assert kept is not None
    vault.write_controller(renewed(kept, ["database.password"]))
    return made


@pytest.mark.parametrize(
    ("steps", "hosts", "aside"),
    [((), (DATA,), APP), ((), (APP,), DATA), (("database",), (), APP), (("mlflow",), (), DATA), (("nginx",), (), DATA)],
)
def test_a_newer_secret_goes_to_all_that_use_it_or_to_none(
    two: Two, steps: tuple[str, ...], hosts: tuple[str, ...], aside: str
) -> None:
    before = [host.files for host in two.hosts.values()]
    code, ended = two.again(*steps, hosts=hosts)
    assert code is Exit.REFUSED, errors(ended)
    assert [host.files for host in two.hosts.values()] == before
    for error in errors(ended).values():
        assert "database.password was made new" in error.what
        assert aside in error.why
        assert error.next == f"provision --inventory {two.file}"
    code, ended = two.again()
    assert code is Exit.OK, errors(ended)
    settled(two)


def test_where_one_side_has_the_newer_secret_already_the_other_may_get_it_alone(two: Two) -> None:
    assert two.again()[0] is Exit.OK
    assert rotated_but_for(two, two.app, "store.user")[0] is Exit.UNREACHABLE
    assert there(two.data)["store.user.key"] != there(two.app)["store.user.key"]
    code, ended = two.again("mlflow")
    assert code is Exit.OK, errors(ended)
    settled(two)
