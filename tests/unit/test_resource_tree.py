from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shells import SHELLS, lint, run

from provisioner.engine.probe import Seen
from provisioner.engine.resource import Change
from provisioner.resources.mark import MarkProbe
from provisioner.resources.paths import ABSENT, PathState
from provisioner.resources.tree import DataDirectory, TreeProbe, TreeState

DATA = DataDirectory(
    id="directory:data", path="/srv/data", owner="store", group="store", sentinels=(".sys", "it's"), had="bucket-x"
)
HAD = MarkProbe("bucket-x")
MARKED = PathState("file", 0o640, "store", "store")
RIGHT = PathState("directory", 0o750, "store", "store")


@given(
    st.sampled_from([ABSENT, RIGHT, PathState("directory", 0o700, "root", "root"), PathState("file")]),
    st.lists(st.sampled_from(["store", "root", "#998"]), max_size=2, unique=True),
)
def test_nothing_is_left_to_do_after_it_was_applied(state: PathState, owners: list[str]) -> None:
    before = Seen({DATA.probe: state, DATA.tree: TreeState(tuple(owners)), DATA.mark: ABSENT, HAD: False})
    assert DATA.diff(DATA.after(before)) is None


def seen(*, mark: PathState = MARKED, had: bool = True, owners: tuple[str, ...] = ("store",)) -> Seen:
    return Seen({DATA.probe: RIGHT, DATA.tree: TreeState(owners), DATA.mark: mark, HAD: had})


def test_data_without_a_mark_gets_one_and_an_empty_directory_that_had_data_is_lost() -> None:
    assert DATA.diff(seen()) is None
    unmarked = seen(mark=ABSENT)
    assert not DATA.lost(unmarked)
    change = DATA.diff(unmarked)
    assert change is not None
    assert "no mark" in change.reason
    assert DATA.lost(seen(mark=ABSENT, owners=()))
    assert not DATA.lost(seen(mark=ABSENT, owners=(), had=False)), "a first run"
    assert not DATA.lost(seen(owners=())), "a store that never started has nothing there but the mark"


def test_data_of_an_id_without_a_user_is_taken_back_by_itself() -> None:
    change = DATA.diff(seen(owners=("#998",)))
    assert change is not None
    assert change.payload is True
    assert change.asks is None


def test_data_of_another_user_is_only_taken_with_consent() -> None:
    change = DATA.diff(seen(owners=("other",)))
    assert change is not None
    assert change.asks


def test_its_fragments_are_clean_posix_sh() -> None:
    assert lint("keep() { :; }\n" + DataDirectory.apply([(DATA, Change("change", "owner", payload=True))])) == ""
    assert lint(TreeProbe.fragment([DATA.tree])) == ""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_a_look_tells_the_owners_of_the_sentinels_that_exist(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "it's").mkdir()
    probes = [TreeProbe(str(tmp_path), (".sys", "it's")), TreeProbe("/nonexistent", (".sys",))]
    done = run(shell, TreeProbe.fragment(probes).encode())
    first, second = TreeProbe.parse(probes, done.stdout)
    assert first.owners == (tmp_path.owner(),)
    assert second.owners == ()
