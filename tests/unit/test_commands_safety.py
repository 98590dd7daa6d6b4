"""What a run refuses, and what it asks about."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.commands import safety
from provisioner.commands.options import Options
from provisioner.commands.view import MARKS
from provisioner.engine.probe import Seen
from provisioner.engine.resource import Change
from provisioner.errors import Refused
from provisioner.inventory import HostRequest, StackRequest
from provisioner.resources.mark import MarksProbe
from provisioner.settings import Recorded, Settings
from provisioner.switches import Switch

ENGINE = Switch("store.engine", "minio", "seaweedfs", "runs point there", "keep it: --set store.engine=minio")
NAME = Switch("database.name", "mlflow", "other", "an empty one", "keep it")


def view(
    *, marks: set[str] = frozenset(), switches: tuple[Switch, ...] = (), asks: tuple[str, ...] = (), refused: Any = ()
) -> Any:
    changes = [SimpleNamespace(id=f"file:{a}", change=Change("change", "a directory", asks=a)) for a in asks]
    return SimpleNamespace(
        request=StackRequest("h", HostRequest("h", "h"), file="prod.toml"),
        steps=(SimpleNamespace(name="mlflow"),),
        all_steps=(SimpleNamespace(name="mlflow"),),
        recorded=None,
        settings=Settings(),
        seen=Seen({MARKS: frozenset(marks)}),
        switches=switches,
        needs=SimpleNamespace(unmet=(), refused=()),
        plan=SimpleNamespace(changes=changes, refused=refused),
    )


def test_a_stack_that_never_held_data_may_change_its_engine() -> None:
    safety.refuse(view(switches=(ENGINE, NAME)), Options())
    safety.refuse(view(switches=(ENGINE,), marks={"role.mlflow", "database.mlflow"}), Options())


@pytest.mark.parametrize(("switch", "mark"), [(ENGINE, "bucket-mlflow"), (NAME, "database.mlflow"), (NAME, "role.x")])
def test_a_stack_that_holds_data_refuses_a_switch_with_the_way_back(switch: Switch, mark: str) -> None:
    with pytest.raises(Refused) as error:
        safety.refuse(view(switches=(switch,), marks={mark}), Options(yes=True))
    assert f"{switch.key} cannot change from {switch.recorded}" in error.value.what
    assert error.value.next == switch.next


def test_what_a_resource_refuses_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(Refused, match="another schema"):
        safety.refuse(view(asks=("a",), refused=(Refused("another schema"),)), Options(yes=True))


def test_what_would_be_replaced_is_listed_and_the_command_that_allows_it_given() -> None:
    with pytest.raises(Refused) as error:
        safety.refuse(view(asks=("it is moved aside",)), Options())
    assert "it is moved aside" in error.value.why
    assert "provision mlflow --host h --inventory prod.toml --yes" in error.value.next
    safety.refuse(view(asks=("it is moved aside",)), Options(yes=True))


def test_a_yes_on_the_terminal_is_enough_and_a_no_is_not() -> None:
    asked: list[str] = []
    safety.refuse(view(asks=("a", "b")), Options(), lambda listed: not asked.append(listed))
    assert [line[-1] for line in asked[0].splitlines()] == ["a", "b"]
    with pytest.raises(Refused):
        safety.refuse(view(asks=("a",)), Options(), lambda listed: False)


def test_nobody_is_asked_where_several_hosts_are_worked_on() -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(safety.terminal("h")))
    thread.start()
    thread.join()
    assert found == [None]
    assert safety.terminal("h") is not None


def test_the_question_names_the_host_and_only_yes_is_a_yes(monkeypatch, capsys) -> None:
    for answer, wanted in (("y\n", True), ("Yes\n", True), ("", False), ("n\n", False)):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(readline=lambda answer=answer: answer))
        ask = safety.terminal("10.151.0.1")
        assert ask is not None
        assert ask("/etc/x: a directory\x1b[2J") is wanted
        told = capsys.readouterr()
        assert told.out == ""
        assert "10.151.0.1" in told.err
        assert "\x1b" not in told.err


def test_the_marks_of_a_host_are_read_by_name() -> None:
    assert list(MarksProbe.parse([MarksProbe()], b"bucket-mlflow\nrole.mlflow\n../x\n")) == [
        frozenset({"bucket-mlflow", "role.mlflow"})
    ]


@pytest.mark.parametrize(
    ("before", "steps", "refused"), [("none", 1, True), ("password", 1, False), ("none", 2, False)]
)
def test_who_asks_for_the_login_changes_with_every_step_at_once(before: str, steps: int, refused: bool) -> None:
    both = (SimpleNamespace(name="mlflow"), SimpleNamespace(name="proxy"))
    seen = view()
    seen.all_steps, seen.steps, seen.recorded = both, both[:steps], Recorded("h", {"access.auth": before})
    if not refused:
        safety.refuse(seen, Options())
        return
    with pytest.raises(Refused, match="from none to password with every step") as error:
        safety.refuse(seen, Options(sets=("access.auth=password",)))
    assert "--set access.auth=password" in error.value.next
