"""[secrets] of an inventory: what may stand there, how values are read, and what a run makes of them."""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_commands_converge import A, Silent, World

from provisioner import inventory, vault
from provisioner.children import Trouble, output
from provisioner.commands.apply import apply
from provisioner.commands.init import inventory_of
from provisioner.commands.options import Options
from provisioner.commands.plan import plan
from provisioner.commands.rotate import rotate
from provisioner.commands.rotation import members
from provisioner.commands.sources import bring
from provisioner.commands.status import status
from provisioner.commands.user import Password, passwd
from provisioner.commands.view import look_at_record
from provisioner.errors import Exit, UsageError
from provisioner.secrets import Secret, masked

VALUE = "fake-value-of-a-source-1"
OTHER = "fake-value-of-a-source-2"
NAME = '"database.password"'


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, A)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's own, and the current one."""
    made = tmp_path / "inventories"
    made.mkdir(mode=0o700)
    monkeypatch.chdir(made)
    return made


def written(folder: Path, secrets: str, mode: int = 0o600) -> Path:
    path = folder / "prod.toml"
    path.write_text(f'[store]\nengine = "seaweedfs"\n[secrets]\n{secrets}\n')
    path.chmod(mode)
    return path


PRINTS = f"print({VALUE!r})\n"
MARKS = 'open("ran", "a").write("x")\n'
"""It was run."""


def by_command(folder: Path, script: str, more: str = "", mode: int = 0o600) -> Path:
    """An inventory whose database password is what a script of Python prints."""
    (folder / "source.py").write_text(script)
    words = json.dumps([sys.executable, "source.py"])
    return written(folder, f"{more}\n{NAME} = {{ command = {words} }}", mode)


def loaded(path: Path, explicit: bool = True) -> inventory.Inventory:
    return inventory.load(path, (), (A,), explicit=explicit)


def read(path: Path, explicit: bool = True) -> dict[str, Secret]:
    (stack,) = bring(loaded(path, explicit)).stacks
    return dict(stack.brought)


def refused(path: Path, explicit: bool = True) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read(path, explicit)
    assert caught.value.exit == Exit.USAGE
    return caught.value


def told(error: UsageError) -> str:
    """Everything of an error, as it is shown."""
    return masked("\n".join((error.what, error.why, error.next, error.detail)))


# --- what may stand in the table ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('"databse.password" = { env = "X" }', "did you mean database.password?"),
        ('"store.root.user" = { env = "X" }', "cannot be chosen"),
        ('"tls.root" = { env = "X" }', "cannot be chosen"),
        ('"store.user.before" = { env = "X" }', "cannot be chosen"),
        (f'login = "{VALUE}"', "expected one of { env"),
        (f'login = {{ value = "{VALUE}" }}', "expected one of { env"),
        ('login = { env = "X", file = "y" }', "expected one of { env"),
        ("login = {}", "expected one of { env"),
        (f'login = {{ env = "{VALUE}" }}', "expected the name of an environment variable"),
        (f'login = {{ env = ["{VALUE}"] }}', "expected the name of an environment variable"),
        ('login = { file = "" }', "expected a path"),
        ('login = { file = "a\\u0000b" }', "expected a path"),
        (f'login = {{ command = "echo {VALUE}" }}', "expected a list"),
        ("login = { command = [] }", "expected a list"),
        ('login = { command = [""] }', "expected a list"),
        ('login = { command = ["a", 1] }', "expected a list"),
        ('login = { command = ["a", "b\\nc"] }', "expected a list"),
        ('login = { env = "X" }\n"login" = { env = "X" }', "not TOML"),
        ('database.password = { env = "X" }\n"database.password" = { env = "Y" }', "twice"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line_and_without_what_it_holds(folder: Path, entry: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        loaded(written(folder, entry))
    assert words in caught.value.what
    assert "prod.toml:" in caught.value.what
    assert VALUE not in told(caught.value)


def test_a_name_may_stand_without_quotes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", VALUE)
    assert read(written(folder, 'database.password = { env = "DB" }')) == {"database.password": Secret(VALUE)}


def test_set_says_that_sources_belong_into_an_inventory() -> None:
    with pytest.raises(UsageError, match="--set cannot say where secrets come from"):
        inventory.load(None, ['secrets.login={ env = "X" }'], (A,))


# --- how values are read --------------------------------------------------------------------------------


def test_a_variable_gives_the_value(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", VALUE)
    assert read(written(folder, f'{NAME} = {{ env = "DB" }}')) == {"database.password": Secret(VALUE)}


@pytest.mark.parametrize(("given", "words"), [(None, "not set"), ("", "empty")])
def test_a_variable_that_gives_nothing_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, words: str
) -> None:
    monkeypatch.delenv("DB", raising=False)
    if given is not None:
        monkeypatch.setenv("DB", given)
    assert f"the environment variable DB is {words}" in refused(written(folder, f'{NAME} = {{ env = "DB" }}')).what


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_counts_from_the_inventory_s_folder_and_one_newline_does_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str
) -> None:
    (folder / "secrets").mkdir()
    (folder / "secrets" / "db").write_bytes((VALUE + end).encode())
    (folder / "secrets" / "db").chmod(0o600)
    path = written(folder, f'{NAME} = {{ file = "secrets/db" }}')
    monkeypatch.chdir(tmp_path)
    (stack,) = bring(loaded(path)).stacks
    assert stack.brought == {"database.password": Secret(VALUE)}
    assert stack.warnings == ()


def _directory(path: Path) -> None:
    path.mkdir()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "No such file"),
        (_directory, "Is a directory"),
        (_fifo, "is not a file"),
        (lambda path: path.write_bytes(b"x" * 65537), "larger than 64 KiB"),
        (lambda path: path.write_bytes(b"\n"), "gives nothing"),
        (lambda path: path.write_bytes(b"\xff\xfe-not-text-at-all"), "no UTF-8"),
        (lambda path: path.write_bytes(VALUE.encode() + b"\n\n"), "line break"),
        (lambda path: path.write_bytes(VALUE.encode() + b"\x1b[2J"), "control character"),
        (lambda path: path.write_bytes(b"short"), "5 characters"),
        (lambda path: (path.write_bytes(VALUE.encode()), path.chmod(0o606)), "can be written by everybody"),
    ],
)
def test_a_file_that_is_no_secret_is_refused_without_its_content(
    folder: Path, make: Callable[[Path], Any], words: str
) -> None:
    make(folder / "db")
    error = refused(written(folder, f'{NAME} = {{ file = "db" }}'))
    assert words in error.what
    assert "prod.toml:4" in error.what
    assert VALUE not in told(error)


def test_a_file_that_others_may_read_is_warned_of(folder: Path) -> None:
    (folder / "db").write_text(VALUE)
    (folder / "db").chmod(0o644)
    (stack,) = bring(loaded(written(folder, f'{NAME} = {{ file = "db" }}'))).stacks
    (warning,) = stack.warnings
    assert "chmod 600" in warning


def test_an_account_s_password_follows_the_rules_of_those_that_people_choose(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB", "only-12-long")
    assert "the password has 12 characters" in refused(written(folder, 'login = { env = "DB" }')).what


def test_a_command_is_words_that_no_shell_reads_and_nothing_to_ask_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER", OTHER + "-and-more")
    script = (
        "import os, sys\n"
        "assert sys.stdin.read() == ''\n"
        "assert os.getsid(0) == os.getpid()\n"
        "assert 'OTHER' not in os.environ and 'PATH' in os.environ\n"
        "assert sys.argv[1:] == ['$(id)', '`id`; x']\n"
        f"print({VALUE!r})\n"
    )
    (folder / "source.py").write_text(script)
    words = json.dumps([sys.executable, "source.py", "$(id)", "`id`; x"])
    path = written(folder, f'{NAME} = {{ command = {words} }}\nlogin = {{ env = "OTHER" }}')
    assert read(path)["database.password"] == Secret(VALUE)


def test_a_command_runs_once_for_all_stacks(folder: Path) -> None:
    path = by_command(folder, MARKS + PRINTS)
    found = bring(inventory.load(path, (), (A, "192.0.2.11"), explicit=True))
    assert [stack.brought for stack in found.stacks] == [{"database.password": Secret(VALUE)}] * 2
    assert (folder / "ran").read_text() == "x"


def test_what_a_failing_command_says_is_shown_without_what_it_printed(folder: Path) -> None:
    script = f"import sys\nprint({VALUE!r})\nprint('locked:', {VALUE!r}, file=sys.stderr)\nsys.exit(3)"
    error = refused(by_command(folder, script))
    assert "ended with exit code 3" in error.what
    assert "locked:" in error.detail
    assert VALUE not in told(error)


def test_what_a_good_command_says_is_not_shown(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    read(by_command(folder, PRINTS + "import sys\nsys.stderr.write('chatter')"))
    assert capfd.readouterr() == ("", "")


def test_a_program_that_is_not_there_is_said(folder: Path) -> None:
    assert "cannot start" in refused(written(folder, f'{NAME} = {{ command = ["./absent"] }}')).what


def test_a_command_that_prints_without_end_is_ended(folder: Path) -> None:
    script = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    assert "printed over 64 KiB" in refused(by_command(folder, script)).what


def test_a_command_that_does_not_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """Both hold a pipe open, whose end is read when neither lives."""
    os.mkfifo(tmp_path / "alive")
    alive = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(Trouble, match="took over 2 s"):
            output(["sh", "-c", "exec 3>alive; echo x >&3; sleep 1000 & wait"], tmp_path, seconds=2.0, room=100)
        assert os.read(alive, 10) == b"x\n"
        assert select.select([alive], [], [], 30)[0] == [alive]
        assert os.read(alive, 10) == b""
    finally:
        os.close(alive)


def test_a_daemon_that_a_command_leaves_behind_holds_nothing_up(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "if os.fork(): print('done', flush=True); os._exit(0)\n"
        "os.setsid(); signal.alarm(20); signal.pause()\n"
    )
    assert output([sys.executable, "-c", script], tmp_path, seconds=15.0, room=100) == b"done\n"


# --- whose commands run ---------------------------------------------------------------------------------


def _readable(path: Path) -> None:
    path.chmod(0o644)


def _by_group(path: Path) -> None:
    path.chmod(0o620)


def _by_all(path: Path) -> None:
    path.chmod(0o602)


def _open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


def _sticky_folder(path: Path) -> None:
    path.parent.chmod(0o1777)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_readable, ""),
        (_by_group, "can be written by others"),
        (_by_all, "can be written by others"),
        (_open_folder, "everybody can replace it"),
        (_sticky_folder, ""),
    ],
)
def test_a_command_runs_only_from_a_file_that_nobody_else_writes(
    folder: Path, change: Callable[[Path], None], words: str
) -> None:
    path = by_command(folder, MARKS + PRINTS)
    change(path)
    if words:
        assert words in refused(path).why
    else:
        assert read(path) == {"database.password": Secret(VALUE)}
    assert (folder / "ran").exists() is not bool(words)


def test_a_command_of_somebody_else_s_inventory_does_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = by_command(folder, MARKS)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert "belongs to another user" in refused(path).why
    assert not (folder / "ran").exists()


def test_a_link_to_an_inventory_in_an_open_folder_is_not_trusted(folder: Path, tmp_path: Path) -> None:
    path = by_command(folder, MARKS)
    (tmp_path / "link.toml").symlink_to(path)
    folder.chmod(0o777)
    assert "everybody can replace it" in refused(tmp_path / "link.toml").why


def test_a_command_of_an_inventory_that_was_only_found_does_not_run(folder: Path) -> None:
    by_command(folder, MARKS).rename(folder / "inventory.toml")
    with pytest.raises(UsageError) as caught:
        bring(Options(hosts=(A,)).stacks())
    assert "--inventory inventory.toml" in caught.value.why
    assert not (folder / "ran").exists()
    (stack,) = Options(hosts=(A,), inventory="inventory.toml").stacks().stacks
    assert stack.secret_sources["database.password"].barred == ""


def test_no_command_runs_where_another_is_refused(folder: Path) -> None:
    """And nothing else is read: the refusal comes first."""
    path = by_command(folder, MARKS, 'login = { env = "NOT_SET" }', 0o620)
    assert "its command does not run" in refused(path).what


# --- what plan and run make of them ---------------------------------------------------------------------


def call(one: World, path: Path, what: Callable[..., Exit] = apply, *arguments: Any) -> tuple[Exit, Silent]:
    reporter = Silent()
    options = Options(hosts=tuple(one.hosts), inventory=str(path))
    return what(options, reporter, *arguments), reporter


def here() -> vault.Vault:
    kept, _ = vault.read_controller(A)
    assert kept is not None
    return kept


def there(one: World) -> vault.Vault:
    return vault.parse(one.hosts[A].content(vault.HOST_FILE), "there")


def test_a_first_run_takes_the_value_as_the_first_generation(
    one: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB", VALUE)
    code, _ = call(one, written(folder, f'{NAME} = {{ env = "DB" }}'))
    assert code == Exit.OK
    assert here().entries == there(one).entries
    assert here().entries["database.password"] == vault.Entry(Secret(VALUE), 1)


def test_another_value_is_a_new_generation_on_both_sides_and_the_plan_says_why(
    one: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.run()
    before = here()
    monkeypatch.setenv("DB", VALUE)
    path = written(folder, f'{NAME} = {{ env = "DB" }}')
    _, planned = call(one, path, plan)
    assert here() == before
    (kept,) = [c for c in planned.results[A].changes if c.id == "file:secrets.json"]
    assert kept.change.reason == "content differs; the value of database.password comes from env DB"
    assert {"file:mlflow.env", "unit:mlflow-server.service"} <= {c.id for c in planned.results[A].changes}
    assert VALUE not in json.dumps(planned.document)

    code, ended = call(one, path)
    assert code == Exit.OK
    assert here().entries == there(one).entries
    new = {name for name, entry in here().entries.items() if entry != before.entries[name]}
    assert new == {"database.password"}
    assert here().entries["database.password"] == vault.Entry(Secret(VALUE), 2)
    assert VALUE not in json.dumps(ended.document)
    assert [path for path, content in _public(one) if VALUE.encode() in content] == []

    code, again = call(one, path)
    assert (code, again.results[A].changes) == (Exit.OK, [])


def _public(one: World) -> list[tuple[str, bytes]]:
    """Files of the host that are not only root's."""
    return [
        (path, state.content)
        for path, state in one.hosts[A].files.items()
        if isinstance(state.content, bytes) and (state.mode or 0) & 0o044
    ]


def test_the_host_records_no_source(one: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", VALUE)
    call(one, written(folder, f'{NAME} = {{ env = "DB" }}'))
    record = one.hosts[A].content("/etc/provision/stack.toml").decode()
    assert "DB" not in record
    view = look_at_record(one.hosts[A], Options(hosts=(A,)).stacks().stacks[0])  # type: ignore[arg-type]
    assert "[secrets]" not in inventory_of(view)
    before = here()
    assert one.run()[0] == Exit.OK
    assert here() == before, "without the inventory the last value stays"


def test_a_command_is_told_by_plan_and_run(one: World, folder: Path) -> None:
    path = by_command(folder, PRINTS)
    for what in (plan, apply):
        _, ended = call(one, path, what)
        assert f"ran for database.password: {sys.executable} source.py" in ended.results[A].notes


def test_commands_that_only_look_run_nothing(one: World, folder: Path) -> None:
    one.run()
    path = by_command(folder, MARKS + PRINTS)
    call(one, path, status)
    call(one, path, rotate, "mlflow.flask-key")
    assert not (folder / "ran").exists()


def test_the_user_before_is_remembered_when_the_store_s_user_gets_another_name(
    one: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.run()
    earlier = here()["store.user.key"]
    monkeypatch.setenv("KEY", "chosen-user-key")
    call(one, written(folder, '"store.user.key" = { env = "KEY" }'))
    assert here()["store.user.before"] == earlier
    assert here()["store.user.key"] == Secret("chosen-user-key")


@pytest.mark.parametrize("name", ["store.user.key", "database.password"])
def test_another_value_is_taken_by_itself_after_all_else_and_the_host_s_document_comes_last(
    one: World, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    one.run()
    monkeypatch.setenv("NEW", "chosen-user-key")
    path = written(folder, f'"{name}" = {{ env = "NEW" }}')
    one.hosts[A].remove("/etc/nginx/conf.d/provision-mlflow.conf")
    _, planned = call(one, path, plan)
    one.hosts[A].applied, one.asked = [], []
    code, ended = call(one, path)
    made = one.hosts[A].applied
    assert code == Exit.OK, ended.results[A].error
    assert set(made) == {change.id for change in planned.results[A].changes}, "a plan shows what a run does"
    assert made.index("file:nginx-site") < made.index("file:mlflow.env")
    assert made[-1] == "file:secrets.json"
    assert one.asked.count("full") == 1
    assert f"the value of {name} comes from env NEW" in ended.results[A].notes


def test_a_failure_on_the_way_leaves_the_earlier_value_on_both_sides(
    one: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.run()
    before = here()
    monkeypatch.setenv("KEY", "chosen-user-key")
    path = written(folder, '"store.user.key" = { env = "KEY" }')
    one.hosts[A].failing = {"unit:mlflow-server.service"}
    code, _ = call(one, path)
    assert code == Exit.FAILED
    assert here() == before
    assert there(one).entries == before.entries
    one.hosts[A].failing = set()
    one.green = False
    code, ended = call(one, path)
    error = ended.results[A].error
    assert code == Exit.VERIFY
    assert error is not None
    assert here().entries == there(one).entries


def test_a_value_with_which_the_verification_fails_is_not_kept(
    one: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.run()
    before = here()
    monkeypatch.setenv("KEY", "chosen-user-key")
    answers, verify = iter([False, True]), one._verify

    def once_red(target: Any, **options: Any) -> Any:
        one.green = next(answers)
        return verify(target, **options)

    monkeypatch.setattr("provisioner.verify.run.verify", once_red)
    code, ended = call(one, written(folder, '"store.user.key" = { env = "KEY" }'))
    error = ended.results[A].error
    assert code == Exit.VERIFY
    assert error is not None
    assert "store.user: the earlier value is back" in error.what
    assert here()["store.user.key"] == there(one)["store.user.key"] == before["store.user.key"]


def test_a_chosen_secret_of_the_store_s_user_comes_under_another_name(
    one: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.run()
    earlier = here()["store.user.key"]
    monkeypatch.setenv("SECRET", VALUE)
    code, _ = call(one, written(folder, '"store.user.secret" = { env = "SECRET" }'))
    assert code == Exit.OK
    assert here()["store.user.secret"] == Secret(VALUE)
    assert here()["store.user.before"] == earlier != here()["store.user.key"]
    assert here().entries == there(one).entries
    code, again = call(one, written(folder, '"store.user.secret" = { env = "SECRET" }'))
    assert (code, again.results[A].changes) == (Exit.OK, [])


def test_a_single_step_does_not_change_what_others_use(
    one: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.run()
    before = here()
    monkeypatch.setenv("DB", VALUE)
    _, ended = call(one, written(folder, f'{NAME} = {{ env = "DB" }}'), apply, ("proxy",))
    assert here() == before
    assert any("a run of all steps takes it" in line for line in ended.results[A].warnings)


def test_a_source_makes_no_account(one: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one.run()
    monkeypatch.setenv("ANNA", VALUE)
    _, ended = call(one, written(folder, '"account.anna" = { env = "ANNA" }'))
    assert "account.anna" not in here().entries
    assert any("provision user add anna" in line for line in ended.results[A].warnings)


def test_a_secret_with_a_source_is_not_rotated_and_the_others_are(one: World, folder: Path) -> None:
    one.run()
    before = here()
    path = written(folder, f'{NAME} = {{ env = "DB" }}')
    for name, secret in (("database.password", "database.password"), ("store.user.key", "store.user.secret")):
        (folder / "prod.toml").write_text(f'[secrets]\n"{secret}" = {{ env = "DB" }}\n')
        code, ended = call(one, path, rotate, name)
        error = ended.results[A].error
        assert code == Exit.USAGE
        assert error is not None
        assert "comes from env DB" in error.what
        assert "change it there" in error.next
        assert here() == before
    (folder / "prod.toml").write_text(f'[secrets]\n{NAME} = {{ env = "DB" }}\n')
    code, ended = call(one, path, rotate, "mlflow.flask-key")
    assert code == Exit.OK, ended.results[A].error
    assert here().entries["mlflow.flask-key"].generation == 2


def test_rotating_all_leaves_those_with_a_source_and_says_so(one: World, folder: Path) -> None:
    one.run()
    before = here()
    left = "mlflow.flask-key"
    every = "\n".join(f'"{name}" = {{ env = "DB" }}' for name in inventory.sources.choosable() if name != left)
    code, ended = call(one, written(folder, every), rotate, "all")
    assert code == Exit.OK, ended.results[A].error
    assert {name for name, entry in here().entries.items() if entry != before.entries[name]} == {left}
    assert any("database.password stays" in line for line in ended.results[A].told)


def test_the_password_of_an_account_with_a_source_is_changed_at_its_source(one: World, folder: Path) -> None:
    one.run()
    path = written(folder, 'login = { env = "DB" }')
    with pytest.raises(UsageError, match="login is not generated"):
        passwd(Options(hosts=(A,), inventory=str(path)), "mlflow", Password())


def test_of_the_accounts_those_with_a_source_stay() -> None:
    secrets = vault.Vault("h", {f"account.{user}": vault.Entry(Secret(VALUE), 1) for user in ("anna", "ben")})
    assert members("accounts", secrets, {"account.anna"}) == ("account.ben",)
