"""The documents name commands, keys, files and messages that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import provisioner
from provisioner import schema
from provisioner.cli import program

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code(path: Path) -> str:
    """What stands in backticks and in fenced blocks."""
    found = text(path)
    return "\n".join([*re.findall(r"^```.*?^```", found, re.M | re.S), *re.findall(r"`([^`\n]+)`", found)])


def anchors(path: Path) -> set[str]:
    """The fragments that headings give, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", re.sub(r"^```.*?^```", "", text(path), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        if fragment:
            assert fragment in anchors(there), target


def test_the_commands_that_are_named_exist() -> None:
    command = program()
    known = set(command.commands)  # type: ignore[attr-defined]
    secrets = set(command.commands["secrets"].commands)  # type: ignore[attr-defined]
    for path in DOCS:
        for line in code(path).splitlines():
            for word, second in re.findall(r"(?:^|[\s(|])provision ([a-z][a-z-]*)(?: ([a-z]+))?", line):
                assert word in known, f"{path.name}: provision {word}"
                if word == "secrets" and second:
                    assert second in secrets, f"{path.name}: provision secrets {second}"


def test_the_two_commands_of_the_readme_exist() -> None:
    usage = subprocess.run([ROOT / "dev"], capture_output=True, text=True, check=False).stderr
    named = set(re.findall(r"\./dev ([a-z]+)", text(ROOT / "README.md")))
    assert named == {"demo", "test"}
    for word in named:
        assert f"./dev {word}" in usage


def test_the_options_that_are_named_exist() -> None:
    command = program()
    known = {name for c in [command, *command.commands.values()] for p in c.params for name in p.opts}  # type: ignore[attr-defined]
    for path in DOCS:
        for line in code(path).splitlines():
            if line.lstrip("$ ").startswith("provision "):
                for option in re.findall(r"(?<=\s)--[a-z][a-z-]+", line):
                    assert option in known | {"--help"}, f"{path.name}: {line}"


def test_the_settings_that_are_named_exist() -> None:
    known = set(schema.known())
    for path in DOCS:
        for key in re.findall(r"--set ([a-z]+\.[a-z0-9_]+)=", text(path)):
            assert key in known, f"{path.name}: {key}"


def test_the_messages_that_are_explained_are_in_the_code() -> None:
    files = [*ROOT.glob("provisioner/**/*.py"), *ROOT.glob("provisioner/**/*.sh")]
    # Neighbouring string literals are one text.
    source = re.sub(r"\"\s*\n\s*f?\"", "", "\n".join(text(path) for path in files))
    rows = re.findall(r"^\| (`.+?`) \|", text(ROOT / "docs" / "troubleshooting.md"), re.M)
    assert len(rows) > 100
    for message in (m for row in rows for m in re.findall(r"`([^`]+)`", row)):
        for part in message.split("…"):
            if len(part.strip()) > 3:
                assert part.strip() in source, message


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_no_path_of_somebodys_machine_is_in_the_documents(path: Path) -> None:
    assert not re.search(r"/home/|/Users/|/root/|/work/|/scratch", text(path))


def test_every_dataclass_says_what_it_is() -> None:
    """Also for speed: without a docstring `dataclass` computes a signature for one, and doubles its cost."""
    package = Path(provisioner.__file__).parent
    bare = re.compile(r'^@dataclass[^\n]*\nclass ([^\n]*):\n(?!    """)', re.MULTILINE)
    found = [f"{path.name}: {name}" for path in package.rglob("*.py") for name in bare.findall(path.read_text())]
    assert found == []


def test_dataclasses_are_those_that_cost_little_to_define() -> None:
    """The programs that are sent to a host have the standard library only."""
    package = Path(provisioner.__file__).parent
    dear = re.compile(r"^from dataclasses import [^\n]*\bdataclass\b", re.MULTILINE)
    found = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if dear.search(path.read_text())}
    assert found == {"runtime/host_index.py"}
