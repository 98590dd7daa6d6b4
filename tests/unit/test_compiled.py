"""Compiled templates are kept, and only what fits is used."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from provisioner import state
from provisioner.compiled import CompiledTemplates


def render(text: str, setup: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, bool]:
    """What the template `text` says, and whether it had to be compiled."""
    loader = jinja2.DictLoader({"t": text})
    environment = jinja2.Environment(loader=loader, bytecode_cache=CompiledTemplates(str(setup)))
    compiled = []
    compile_ = environment.compile
    monkeypatch.setattr(environment, "compile", lambda *args: compiled.append(args) or compile_(*args))
    return environment.get_template("t").render(n=1), bool(compiled)


@pytest.fixture
def setup(tmp_path: Path) -> Path:
    path = tmp_path / "setup.py"
    path.write_text("1")
    return path


def kept() -> Path:
    (path,) = (state.root() / ".templates").iterdir()
    return path


def test_a_template_is_compiled_once(setup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert render("a {{ n }}", setup, monkeypatch) == ("a 1", True)
    assert render("a {{ n }}", setup, monkeypatch) == ("a 1", False)
    assert kept().stat().st_mode & 0o777 == 0o600


def test_one_that_was_changed_or_set_up_otherwise_is_made_again(setup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render("a {{ n }}", setup, monkeypatch)
    assert render("b {{ n }}", setup, monkeypatch) == ("b 1", True)
    setup.write_text("22")
    assert render("b {{ n }}", setup, monkeypatch) == ("b 1", True)


@pytest.mark.parametrize("damage", [lambda old: old[:-9], lambda old: old[:32] + b"\x80\x04junk", lambda old: b""])
def test_a_damaged_file_is_not_even_looked_into(damage, setup: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    render("a {{ n }}", setup, monkeypatch)
    kept().write_bytes(damage(kept().read_bytes()))
    assert render("a {{ n }}", setup, monkeypatch) == ("a 1", True)
    assert render("a {{ n }}", setup, monkeypatch) == ("a 1", False)


def test_a_link_is_not_followed(setup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render("a {{ n }}", setup, monkeypatch)
    name = kept()
    name.symlink_to(name.rename(tmp_path / "elsewhere"))
    assert render("a {{ n }}", setup, monkeypatch) == ("a 1", True)


def test_a_place_that_cannot_be_written_is_done_without(setup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    assert render("a {{ n }}", setup, monkeypatch) == ("a 1", True)
