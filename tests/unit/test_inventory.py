from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner import inventory, inventory_file, schema, toml_lines
from provisioner.errors import UsageError
from provisioner.inventory import HostRequest, load
from provisioner.reference import markdown
from provisioner.set_option import parse_set
from provisioner.settings import effective

REPO = Path(__file__).resolve().parents[2]


def _file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "inventory.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _error(tmp_path: Path, text: str | bytes, *sets: str, hosts: tuple[str, ...] = ("h",)) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load(_file(tmp_path, text), sets, hosts)
    return caught.value


def test_the_reference_in_docs_is_the_one_of_the_code() -> None:
    assert (REPO / "docs" / "inventory.md").read_text(encoding="utf-8") == markdown()


def test_the_example_loads_and_names_every_key() -> None:
    path = REPO / "inventory.example.toml"
    (stack,) = load(path).stacks
    assert stack.id == "10.151.0.1"
    assert stack.host.name == "mlflow-1"
    assert stack.inventory is not None
    effective(stack.flags, stack.inventory)
    text = path.read_text(encoding="utf-8")
    for section in schema.SECTIONS.values():
        for name in schema.keys(section):
            assert f"{name} = " in text or f".{name}]" in text, name


@pytest.mark.parametrize(
    ("table", "key"), [(table, key) for table, section in schema.SECTIONS.items() for key in schema.keys(section)]
)
def test_every_example_of_the_reference_is_accepted(tmp_path: Path, table: str, key: str) -> None:
    known = schema.keys(schema.SECTIONS[table])[key]
    head = '[hosts."mlflow-1"]' if table == "hosts" else f"[{table}]"
    load(_file(tmp_path, f"{head}\n{known.example}\n"), (), ("mlflow-1",))


# --- errors


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[store]\n\nengin = "minio"\n', 3, "store.engin: unknown key, did you mean store.engine?"),
        ("[store]\nport = 1\n", 2, "did you mean access.port?"),
        ("[stroe]\n", 1, "did you mean [store]?"),
        ('engine = "minio"\n', 1, "did you mean store.engine?"),
        ('[hosts."a"]\nuser = "x"\nprot = 1\n', 3, "did you mean port?"),
        ('[store]\nengine = "min"\n', 2, 'store.engine: expected one of "minio"'),
        ("[mlflow]\nworkers = true\n", 2, "expected a whole number from 1 to 64"),
        ("[mlflow]\nworkers = 2.5\n", 2, "expected a whole number"),
        ("[access]\nport = 0\n", 2, "from 1 to 65535"),
        ("[access]\nport = 9000\n", 2, "the store listens on 9000"),
        ("[database]\nallow = [\n  # lan\n  '10.0.0.1/24',\n]\n", 2, "host bits set"),
        ('[database]\nallow = "10.0.0.0/24"\n', 2, "expected a list"),
        ('[mlflow.env]\nMLFLOW_A = "1"\n"B C" = "1"\n', 3, "name of an environment variable"),
        ('[mlflow.env]\nMLFLOW_BACKEND_STORE_URI = "x"\n', 2, "this tool sets it"),
        ('[mlflow.env]\nA = "x\\ny"\n', 2, "on one line"),
        ('[mlflow]\nenv = { OPENAI_API_KEY = "sk-123" }\n', 2, "no secret"),
        ('[database.settings]\nlisten_addresses = "*"\n', 2, "it follows from database.allow"),
        ('[access]\nnames = ["localhost"]\n', 2, "artifact URLs carry it"),
        ('[access]\nnames = ["a.example:8080"]\n', 2, "that is access.port"),
        ('store = "minio"\n', 1, "expected a table: [store]"),
        ("[hosts]\nweb = 1\n", 2, "expected a table"),
        ('[hosts."a b"]\n', 1, "expected a host"),
        ("[store]\nengine = minio\n", 2, "not TOML"),
        ("[store]\nx = [1,\n", 3, "not TOML"),
        ("[store]\n[store]\n", 2, "not TOML"),
        (b'[store]\n\nx = "\xff"\n', 3, "not UTF-8"),
        (b"\0", 1, "not TOML"),
        ("a = " + "[" * 5000, 1, "not TOML"),
    ],
)
def test_an_error_names_file_line_key_and_what_is_expected(
    tmp_path: Path, text: str | bytes, line: int, words: str
) -> None:
    error = _error(tmp_path, text)
    assert error.what.startswith(f"{tmp_path}/inventory.toml:{line}: ")
    assert words in error.what
    assert error.exit == 64


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[mlflow]\nversion = "3.18.0"\n', "mlflow.version"),
        ("[backup]\n", "backup"),
        ("[monitoring]\n", "monitoring"),
    ],
)
def test_what_comes_later_is_refused_as_such(tmp_path: Path, text: str, words: str) -> None:
    error = _error(tmp_path, text, hosts=())
    assert words in error.what
    assert "not available yet" in error.what
    assert error.exit == 64


def test_all_problems_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    error = _error(tmp_path, '[store]\nengin = 1\nbucket = "api"\n[acess]\n')
    assert len(error.detail.splitlines()) == 2


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"k{n} = 1\n" for n in range(90_000)),
        "[" + "a." * 50_000 + "b]\n",
        "[store]\n" + "x" * 500_000 + " = 1\n",
        "[" + "a." * 4_000 + "b]\n",
        "[store]\n" + "x" * 8_000 + " = 1\n",
    ],
    ids=["many", "deep", "long", "less deep", "less long"],
)
def test_a_hostile_file_costs_seconds_at_most_and_a_short_error(tmp_path: Path, text: str) -> None:
    error = _error(tmp_path, text)
    assert len(error.what) + len(error.detail) < 20_000


HOSTILE_TEXT = ["", "a\nb", "a\0b", "\x1b[31m", "$(reboot)", "`id`", "a;b", "a b", "'", '"', "../x", "-rf", "x" * 5000]


@pytest.mark.parametrize("value", HOSTILE_TEXT)
@pytest.mark.parametrize(
    "dotted",
    [
        *(
            name
            for name, key in schema.known().items()
            if key.kind == "string" and name not in {"store.binary", *schema.ROOTS}
        ),
        "hosts.h.address",
        "hosts.h.user",
        "hosts.h.host_key",
        "hosts.h.jump",
    ],
)
def test_hostile_strings_are_refused_and_their_error_is_printable(dotted: str, value: str) -> None:
    document: Any = value
    for part in reversed(dotted.split(".")):
        document = {part: document}
    from provisioner.documents import read

    reading = read(document, lambda _path: "f:1")
    assert reading.problems
    assert all(problem.isprintable() and len(problem) < 400 for problem in reading.problems)


@pytest.mark.parametrize("value", HOSTILE_TEXT)
@pytest.mark.parametrize("dotted", ["access.names", "database.allow", "roles.store"])
def test_hostile_list_items_are_refused(dotted: str, value: str) -> None:
    from provisioner.documents import read

    table, name = dotted.split(".")
    assert read({table: {name: [value]}}, lambda _path: "f:1").problems


@pytest.mark.parametrize(
    "path",
    ["/", "/opt", "/etc/minio", "/usr/local/x", "/var/lib", "/var/lib/postgresql/x", "/home/me/x", "/tmp/x", "relative",
     "/srv/../etc", "/srv//x", "/srv/./x", "/srv/a b", "/srv/%h", "/srv/-x", "/opt/mlflow/x", "/srv/x/.."],
)  # fmt: skip
def test_data_directories_stay_out_of_the_system(path: str) -> None:
    with pytest.raises(UsageError):
        load(None, [f"store.data='{path}'"], ["h"])


@pytest.mark.parametrize(
    "name", ["ab", "Api", "a_b", "a..b", "-ab", "ab-", "1.2.3.4", "xn--abc", "api", "health", "minio", "a" * 64]
)
def test_buckets_follow_s3_and_stay_out_of_mlflows_paths(name: str) -> None:
    with pytest.raises(UsageError):
        load(None, [f"store.bucket={name}"], ["h"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
        max_leaves=20,
    ),
    st.sampled_from([*schema.SECTIONS, "x"]),
)
def test_no_document_makes_the_reader_fail(content: Any, table: str) -> None:
    from provisioner.documents import read

    reading = read({table: content}, lambda _path: "f:1")
    assert all(problem.startswith("f:1: ") for problem in reading.problems)


def test_files_that_are_none_are_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"#" * (inventory_file.LIMIT + 1))
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", ".", "big", "pipe"):
        with pytest.raises(UsageError):
            load(tmp_path / name, (), ["h"])


# --- lines

keys = st.one_of(
    st.sampled_from(["a", "b-1", "_x", "9"]), st.text(max_size=6).filter(lambda t: all(c.isprintable() for c in t))
)


def _quoted(part: str) -> str:
    plain = part and all(c.isascii() and (c.isalnum() or c in "-_") for c in part)
    return part if plain else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'


values = st.sampled_from(
    [
        '"x"',
        "1",
        "[1, 2]",
        "[\n 1, # ]\n [2],\n]",
        '"""\na = 1\n[b]\n"""',
        "'''\n'' '''",
        '"\\"# ["',
        "{ a = 1 }",
        "true",
        "'#'",
        '""',
    ]
)


@given(
    st.lists(
        st.tuples(st.lists(keys, min_size=1, max_size=3), values, st.sampled_from(["", "# x = 1", " \t"])),
        max_size=6,
        unique_by=lambda row: row[0][0],
    )
)
def test_every_key_is_found_on_its_line(rows: list[tuple[list[str], str, str]]) -> None:
    text, expected = "", {}
    for path, value, blank in rows:
        text += blank + "\n"
        expected[tuple(path)] = text.count("\n") + 1
        text += " . ".join(_quoted(part) for part in path) + " = " + value + "  # end\n"
    tomllib.loads(text)
    found = toml_lines.lines(text)
    assert {path: found[path] for path in expected} == expected


def test_lines_of_tables_arrays_and_what_is_inside_them() -> None:
    text = '# c\n[a."b.c"]\nx = { y = 1 }\n\n[[d]]\ne = 1\n[[d]]\ne = 2\n'
    found = toml_lines.lines(text)
    assert toml_lines.line(found, ("a", "b.c")) == 2
    assert toml_lines.line(found, ("a", "b.c", "x", "y")) == 3
    assert toml_lines.line(found, ("d", "e")) == 8
    assert toml_lines.line(found, ("nowhere",)) == 1


@given(st.text(max_size=200))
def test_the_locator_never_fails(text: str) -> None:
    toml_lines.lines(text)


# --- --set


@pytest.mark.parametrize(
    ("argument", "dotted", "value"),
    [
        ("store.engine=seaweedfs", "store.engine", "seaweedfs"),
        ('store.engine="seaweedfs"', "store.engine", "seaweedfs"),
        ("mlflow.workers=4", "mlflow.workers", 4),
        ("database.name=null", "database.name", "null"),
        ("access.public_http=true", "access.public_http", True),
        ('access.names=["A.example", "[fd00::0:1]"]', "access.names", ("a.example", "fd00::1")),
        ("access.names=a.example", "access.names", ("a.example",)),
        ("database.allow=10.0.0.0/8", "database.allow", ("10.0.0.0/8",)),
        ("database.allow=[]", "database.allow", ()),
        ("mlflow.env.MLFLOW_X=a=b # c", "mlflow.env.MLFLOW_X", "a=b # c"),
        ("mlflow.env.MLFLOW_X=", "mlflow.env.MLFLOW_X", ""),
        ("mlflow.env.MLFLOW_X=2026-11-21", "mlflow.env.MLFLOW_X", "2026-11-21"),
        ("mlflow.env.MLFLOW_X=[1]", "mlflow.env.MLFLOW_X", "[1]"),
        ("mlflow.env={}", "mlflow.env", {}),
        ('mlflow.env={ A = "1" }', "mlflow.env", {"A": "1"}),
        ("database.settings.work_mem=8MB", "database.settings.work_mem", "8MB"),
        ("database.settings.auto_explain.log_analyze=on", "database.settings.auto_explain.log_analyze", "on"),
        ("mlflow.version=3.17.2", "mlflow.version", "3.17.2"),
        ('"store".engine = "seaweedfs"', "store.engine", "seaweedfs"),
    ],
)
def test_set_takes_any_key(argument: str, dotted: str, value: object) -> None:
    (stack,) = load(None, [argument], ["h"]).stacks
    assert stack.flags == {dotted: value}


@pytest.mark.parametrize(
    "argument",
    ["", "=", "x", "=1", "store.engine", "store.engine.x=1", "store=1", "a b=1", "store.engine=a\nb=1",
     "mlflow.workers=four", "mlflow.workers=4\nx=1", "hosts.h=1", "nothing.here=1", "mlflow.workers=" + "9" * 5000],
)  # fmt: skip
def test_a_wrong_set_is_an_error_that_names_the_flag(argument: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(None, [argument], ["h"])
    assert caught.value.what.startswith("--set")
    assert caught.value.what.isprintable()


@given(st.text(max_size=60))
def test_no_set_argument_makes_the_parser_fail_otherwise(argument: str) -> None:
    for each in (argument, "store.bucket=" + argument, "mlflow.env.A=" + argument, "database.allow=" + argument):
        try:
            load(None, [each], ["h"])
        except UsageError as error:
            assert error.what.startswith("--set")  # noqa: PT017


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1).map(str.strip).filter(bool))
def test_a_quoted_string_arrives_as_it_is(text: str) -> None:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert parse_set(f"mlflow.env.A={quoted}")[1] == text


def test_an_option_and_a_set_that_differ_are_refused() -> None:
    options = {"access.auth": ("--no-auth", "none")}
    assert load(None, (), ["h"], options=options).stacks[0].flags == {"access.auth": "none"}
    assert load(None, ["access.auth=none"], ["h"], options=options).stacks[0].flags == {"access.auth": "none"}
    with pytest.raises(UsageError, match="--no-auth"):
        load(None, ["access.auth=password"], ["h"], options=options)


# --- hosts


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("10.0.0.1", HostRequest("10.0.0.1", "10.0.0.1")),
        ("root@web:2222", HostRequest("web", "web", "root", 2222)),
        ("fd00::1", HostRequest("fd00::1", "fd00::1")),
        ("me@[fd00::1]:22", HostRequest("fd00::1", "fd00::1", "me", 22)),
        ("me@corp@web", HostRequest("web", "web", "me@corp")),
    ],
)
def test_a_host_is_written_as_for_ssh(spec: str, expected: HostRequest) -> None:
    assert load(None, (), [spec]).stacks[0].host == expected


@pytest.mark.parametrize(
    "spec", ["", "@", "a@", "@h", "-oProxyCommand=x", "u@-x", "h:0", "h:65536", "h:x", "a b", "a;b", "h\n", "::::x"]
)
def test_a_host_that_ssh_could_take_for_something_else_is_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        load(None, (), [spec])


def test_several_hosts_are_several_stacks() -> None:
    assert [each.id for each in load(None, (), ["a", "b", "a:2222", "a"]).stacks] == ["a", "b", "a+2222"]
    with pytest.raises(UsageError, match="twice"):
        load(None, (), ["x@a", "y@a"])
    with pytest.raises(UsageError, match="one stack's"):
        load(None, ["access.names=n.example"], ["a", "b"])


def test_no_host_at_all_says_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no host") as caught:
        load(_file(tmp_path, '[hosts."web"]\naddress = "10.0.0.1"\n'))
    assert caught.value.next == "provision --host web"


HOSTS = """
[hosts."Web"]
address = "10.0.0.1"
user = "ubuntu"
port = 2222
identity = "keys/id"
host_key = "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDTzuLqsbd7CLXJEeE"
jump = "j@bastion:22, other"
sudo = "none"
"""


@pytest.mark.parametrize("spec", ["web", "Web", "10.0.0.1", "web:2222"])
def test_a_host_of_the_inventory_is_found_by_name_or_address(tmp_path: Path, spec: str) -> None:
    (stack,) = load(_file(tmp_path, HOSTS), (), [spec]).stacks
    assert stack.id == "10.0.0.1+2222"
    key = "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDTzuLqsbd7CLXJEeE"
    identity = str(tmp_path / "keys" / "id")
    assert stack.host == HostRequest("Web", "10.0.0.1", "ubuntu", 2222, identity, key, "j@bastion:22,other", "none")


def test_what_host_and_options_say_wins_over_the_inventory(tmp_path: Path) -> None:
    path = _file(tmp_path, HOSTS)
    host = load(path, (), ["root@web:22"], ssh_user="x", ssh_port=9, identity="/k").stacks[0].host
    assert (host.user, host.port, host.identity) == ("root", 22, "/k")
    host = load(path, ['hosts."Web".user=carol'], ["web"], ssh_port=9).stacks[0].host
    assert (host.user, host.port) == ("carol", 9)


def test_host_selects_among_the_hosts_of_roles(tmp_path: Path) -> None:
    path = _file(tmp_path, HOSTS + '[roles]\nstore = ["web"]\nmlflow = ["ubuntu@10.0.0.1"]\n')
    assert load(path).stacks[0].host.name == "Web"
    assert load(path, (), ["someone@10.0.0.1:22"]).stacks[0].host.user == "someone"
    with pytest.raises(UsageError, match="not in"):
        load(path, (), ["10.0.0.2"])


def test_paths_of_the_inventory_count_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, '[store]\nbinary = "./minio"\n')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (stack,) = load(path, (), ["h"]).stacks
    assert stack.inventory == {"store.binary": str(tmp_path / "minio")}
    (stack,) = load(None, ["store.binary=./minio"], ["h"]).stacks
    assert stack.flags == {"store.binary": str(tmp_path / "elsewhere" / "minio")}
    assert stack.inventory is None


def test_the_default_inventory_is_used_where_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert inventory.find(None) is None
    _file(tmp_path, "")
    assert inventory.find(None) == Path("inventory.toml")
    assert inventory.find("/x.toml") == Path("/x.toml")


# --- several hosts

_FOUR = """
[roles]
store = ["s"]
database = ["d"]
mlflow = ["m1", "m2"]
proxy = ["p"]
[hosts.s]
address = "10.151.0.2"
[hosts.d]
address = "db.example.com"
internal = "10.151.0.3"
[hosts.m1]
address = "10.151.0.4"
[hosts.m2]
address = "ubuntu@10.151.0.5:2222"
[hosts.p]
address = "10.151.0.1"
"""


def test_roles_over_several_hosts_are_one_stack_named_by_the_host_that_clients_use(tmp_path: Path) -> None:
    (stack,) = load(_file(tmp_path, _FOUR)).stacks
    assert (stack.id, stack.host.name) == ("10.151.0.1", "p")
    assert [(part.host.name, part.roles) for part in stack.parts] == [
        ("s", ("store",)),
        ("d", ("database",)),
        ("m1", ("mlflow",)),
        ("m2", ("mlflow",)),
        ("p", ("proxy",)),
    ]
    assert [each.host.name for each in stack.each()] == ["p", "s", "d", "m1", "m2"]
    assert stack.parts[1].host.internal == "10.151.0.3"
    assert {each.id for each in stack.each()} == {"10.151.0.1"}
    assert len({each.place for each in stack.each()}) == 5


def test_host_selects_among_the_hosts_of_a_stack(tmp_path: Path) -> None:
    (stack,) = load(_file(tmp_path, _FOUR), (), ("10.151.0.5", "admin@d")).stacks
    assert stack.host.name == "p"
    assert [(each.host.name, each.host.user, each.host.port) for each in stack.each()] == [
        ("d", "admin", None),
        ("m2", "ubuntu", 2222),
    ]


def test_a_host_with_several_roles_is_one_host(tmp_path: Path) -> None:
    text = '[roles]\nstore = ["a"]\nmlflow = ["10.151.0.1"]\nproxy = ["a"]\ndatabase = ["b"]\n'
    (stack,) = load(_file(tmp_path, text + '[hosts.a]\naddress = "10.151.0.1"\n[hosts.b]\naddress = "b.lan"\n')).stacks
    assert [(part.host.name, part.roles) for part in stack.parts] == [
        ("a", ("store", "mlflow", "proxy")),
        ("b", ("database",)),
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('database = ["d"]\n', "", "[roles] names no host for database"),
        ('proxy = ["p"]', 'proxy = ["p", "s"]', "[roles] proxy names 2 hosts"),
        ('database = ["d"]', 'database = ["d", "s"]', "[roles] database names 2 hosts"),
        ('internal = "10.151.0.3"', 'internal = "127.0.0.1"', "expected an IP address that the stack's other hosts"),
        ('internal = "10.151.0.3"', 'internal = "db.lan"', "expected an IP address"),
    ],
)
def test_what_makes_no_stack_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in _FOUR
    assert words in _error(tmp_path, _FOUR.replace(old, new), hosts=()).what


def test_two_hosts_behind_one_address_do_not_silently_become_one(tmp_path: Path) -> None:
    one, other = "10.151.0.1:2201", "root@10.151.0.1:2202"
    text = f'[roles]\nstore = ["{one}"]\nmlflow = ["{one}"]\nproxy = ["{one}"]\ndatabase = ["{other}"]\n'
    error = _error(tmp_path, text, hosts=())
    assert error.what == "[roles] name 10.151.0.1 with the ports 2201 and 2202"
    assert "internal" in error.next


def test_a_host_outside_of_the_roles_is_refused(tmp_path: Path) -> None:
    assert "is not in [roles]" in _error(tmp_path, _FOUR, hosts=("10.151.0.9",)).what


# --- several stacks

_STACKS = """
[store]
engine = "seaweedfs"
[mlflow]
workers = 3
[stacks.research.roles]
store = ["r1"]
database = ["r1"]
mlflow = ["r1"]
proxy = ["r1"]
[stacks.production.roles]
store = ["p2"]
database = ["p2"]
mlflow = ["p1"]
proxy = ["p1"]
[stacks.production.mlflow]
workers = 4
[hosts.r1]
address = "10.151.0.1"
[hosts.p1]
address = "10.151.0.2"
[hosts.p2]
address = "10.151.0.3"
"""


def test_each_stack_has_what_stands_beside_it_and_what_stands_in_it(tmp_path: Path) -> None:
    research, production = load(_file(tmp_path, _STACKS)).stacks
    assert [(s.name, s.id, len(s.each())) for s in (research, production)] == [
        ("research", "10.151.0.1", 1),
        ("production", "10.151.0.2", 2),
    ]
    workers = [effective(s.flags, s.inventory or {}).mlflow.workers for s in (research, production)]
    assert workers == [3, 4]
    assert all((s.inventory or {})["store.engine"] == "seaweedfs" for s in (research, production))


def test_a_stack_is_chosen_by_its_name_or_by_its_host(tmp_path: Path) -> None:
    path = _file(tmp_path, _STACKS)
    assert [s.name for s in load(path, stacks=("production",)).stacks] == ["production"]
    (chosen,) = load(path, hosts=("10.151.0.3",)).stacks
    assert (chosen.name, [each.host.name for each in chosen.each()]) == ("production", ["p2"])


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (_STACKS, {"stacks": ("other",)}, "--stack other is not known"),
        (_STACKS, {"hosts": ("10.9.9.9",)}, "--host 10.9.9.9 is not in the inventory's stacks"),
        (_STACKS, {"hosts": ("r1",), "stacks": ("production",)}, "--host r1 is not in production"),
        (_STACKS.replace('store = ["p2"]', 'store = ["r1"]'), {}, "is in the stacks research and production"),
        (_STACKS + '[roles]\nproxy = ["r1"]\n', {}, "[roles] stand beside [stacks]"),
        (_STACKS + "[stacks.third.mlflow]\nworkers = 1\n", {}, "[stacks.third] has no roles"),
        (_STACKS + "[stacks.Third.mlflow]\nworkers = 1\n", {}, "expected a name of small letters"),
        (_STACKS + '[stacks.research.hosts.x]\naddress = "h"\n', {}, "[hosts] is one for the whole inventory"),
        (_STACKS + "[stacks.research.mlflow]\nworkers = 0\n", {}, "workers: expected a whole number"),
        ("[mlflow]\nworkers = 1\n", {"stacks": ("a",), "hosts": ("h",)}, "the inventory has no [stacks]"),
    ],
)
def test_stacks_that_cannot_be_told_apart_are_refused(
    tmp_path: Path, text: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(_file(tmp_path, text), **options)
    assert words in caught.value.what


def test_several_machines_behind_one_address_are_several_hosts(tmp_path: Path) -> None:
    path = tmp_path / "inventory.toml"
    path.write_text(
        '[roles]\nstore = ["b"]\ndatabase = ["b"]\nmlflow = ["b"]\nproxy = ["a"]\n'
        '[hosts.a]\naddress = "192.0.2.1"\nport = 2201\n[hosts.b]\naddress = "192.0.2.1"\nport = 2202\n'
    )
    (stack,) = load(path).stacks
    assert [(part.host.name, part.host.port, part.roles) for part in stack.parts] == [
        ("b", 2202, ("store", "database", "mlflow")),
        ("a", 2201, ("proxy",)),
    ]
    assert load(path, hosts=["192.0.2.1:2202"]).stacks[0].selected == ("b",)
    assert load(path, hosts=["a"]).stacks[0].selected == ("a",)
