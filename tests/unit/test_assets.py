from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systemd_env import read_env_file

from provisioner import assets
from provisioner.secrets import Secret

printable = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=80)


@given(st.lists(printable, min_size=1, max_size=5))
def test_systemd_reads_every_value_back_from_its_line(values: list[str]) -> None:
    lines = "".join(f"K{n}={assets.env_value(value)}\n" for n, value in enumerate(values))
    assert read_env_file(lines) == {f"K{n}": value for n, value in enumerate(values)}


def _read_by_sh(values: list[str]) -> list[str]:
    lines = "".join(f"K{n}={assets.env_value(value)}\n" for n, value in enumerate(values))
    prints = "".join(f'printf "%s\\n" "$K{n}"\n' for n in range(len(values)))
    done = subprocess.run(["sh"], input=(lines + prints).encode(), capture_output=True, check=True)
    return done.stdout.decode().split("\n")[:-1]


@settings(max_examples=15, deadline=None)
@given(st.lists(printable, min_size=1, max_size=20))
def test_a_shell_that_sources_the_file_reads_the_same_values(values: list[str]) -> None:
    assert _read_by_sh(values) == values


def test_sh_agrees_on_hostile_values() -> None:
    values = ["a b", "$HOME", "`id`", '"', "\\", "\\n", "'", "#x", "50%", "é", "a\\$b", "!x", "*", "~root", ""]
    assert _read_by_sh(values) == values


@pytest.mark.parametrize(
    "value", ["2", "127.0.0.1:5500", "postgresql+psycopg2://mlflow:x%40y@127.0.0.1/mlflow", "s3://mlflow", "a,b=c"]
)
def test_ordinary_values_stay_plain_key_value_lines(value: str) -> None:
    assert assets.env_value(value) == value


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "\0", "\x1b[31m", "a\u2028b", "\x85", "\ud800"])
def test_control_characters_never_reach_a_file(value: str) -> None:
    for filter_ in (assets.env_value, assets.unit_value, assets.exec_arg, assets.systemd_escape):
        with pytest.raises(ValueError, match="control character"):
            filter_(value)


@pytest.mark.parametrize(
    ("text", "path", "escaped"),
    [
        ("/srv/min io", True, r"srv-min\x20io"),
        ("//srv///data/", True, "srv-data"),
        ("/", True, "-"),
        (".hidden/x", False, r"\x2ehidden-x"),
        ("a-b", False, r"a\x2db"),
        ("é", False, r"\xc3\xa9"),
    ],
)
def test_names_of_units_are_escaped_like_systemd_escape_does(text: str, path: bool, escaped: str) -> None:
    assert assets.systemd_escape(text, path) == escaped


def test_words_of_exec_start_keep_specifiers_and_variables_literal() -> None:
    assert assets.exec_arg("50%") == "50%%"
    assert assets.exec_arg("$HOME x") == '"$$HOME x"'
    assert assets.exec_arg('a"b\\') == '"a\\"b\\\\"'
    assert assets.exec_arg("") == '""'


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "units").mkdir()
    (tmp_path / "sql").mkdir()
    monkeypatch.setattr(assets, "folder", lambda kind: tmp_path / kind)
    assets._environment.cache_clear()
    yield tmp_path
    assets._environment.cache_clear()


def test_a_template_is_rendered_with_its_values(templates: Path) -> None:
    (templates / "units" / "a.env.j2").write_text("{% if x %}\nP={{ password | env_value }}\n{% endif %}\n")
    assert assets.render("a.env.j2", x=True, password=Secret("it's $5")) == 'P="it\'s \\$5"\n'


def test_a_value_that_nobody_gave_is_an_error(templates: Path) -> None:
    (templates / "units" / "a.j2").write_text("{{ missing }}")
    with pytest.raises(jinja2.UndefinedError):
        assets.render("a.j2")


def test_a_secret_is_never_printed_by_accident(templates: Path) -> None:
    (templates / "units" / "a.j2").write_text("{{ password }}")
    with pytest.raises(TypeError, match="without"):
        assets.render("a.j2", password=Secret("hunter22"))


def test_sql_is_read_from_its_folder_and_names_cannot_leave_it(templates: Path) -> None:
    (templates / "sql" / "role.sql").write_text("SELECT 1;\n")
    assert assets.sql("role.sql") == "SELECT 1;\n"
    for name in ("../x", "/etc/passwd", "a/../../x", ""):
        with pytest.raises(ValueError, match="template"):
            assets.sql(name)
        with pytest.raises(ValueError, match="template"):
            assets.render(name)
