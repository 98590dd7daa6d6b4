"""What was edited on a host, as the inventory would say it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.commands.telling import keep
from provisioner.engine.resource import Change
from provisioner.inventory import load
from provisioner.resources.postgresql import hba
from provisioner.resources.postgresql.hba import Access
from provisioner.steps import keeping

UNIT = b"[Service]\nMemoryMax=3G\nRestartSec=1\n"
ENVIRONMENT = b"MLFLOW_PORT=5500\nMLFLOW_WORKERS=2\n"
SETTINGS = b"# Written by provision.\nlisten_addresses = 'localhost'\nmax_connections = '100'\nwork_mem = '4MB'\n"

EDITS = [
    (keeping.of_unit(UNIT), UNIT.replace(b"3G", b"512M"), {"mlflow.memory": "512M"}),
    (
        keeping.of_environment(ENVIRONMENT),
        ENVIRONMENT.replace(b"=2", b"=4") + b'MLFLOW_LOGGING_LEVEL="DEBUG"\n',
        {"mlflow.workers": 4, "mlflow.env.MLFLOW_LOGGING_LEVEL": "DEBUG"},
    ),
    (
        keeping.of_settings(SETTINGS),
        SETTINGS.replace(b"4MB", b"64MB") + b"pg_stat_statements.max = 5000  # more\n",
        {"database.settings.work_mem": "64MB", "database.settings.pg_stat_statements.max": "5000"},
    ),
]


@pytest.mark.parametrize(("said", "edited", "values"), EDITS)
def test_what_is_said_is_taken_by_the_inventory_and_means_the_edit(
    said: Any, edited: bytes, values: dict[str, Any], tmp_path: Path
) -> None:
    text = said(edited)
    path = tmp_path / "inventory.toml"
    path.write_text("".join(line.replace("] ", "]\n") + "\n" for line in _merged(text)))
    (stack,) = load(path, (), ["h"]).stacks
    assert stack.inventory == values


def _merged(text: str) -> list[str]:
    """One table header for lines of the same table."""
    seen: set[str] = set()
    lines = []
    for line in text.splitlines():
        table, _, rest = line.partition(" ")
        lines.append(rest if table in seen else line)
        seen.add(table)
        tomllib.loads(line.replace("] ", "]\n"))
    return lines


@pytest.mark.parametrize(
    ("said", "edited"),
    [
        (keeping.of_unit(UNIT), UNIT + b"User=root\n"),
        (keeping.of_unit(UNIT), UNIT.replace(b"3G", b"infinity")),
        (keeping.of_unit(UNIT), b"\xff\x00"),
        (keeping.of_environment(ENVIRONMENT), ENVIRONMENT + b"MLFLOW_PORT=1\nMY_TOKEN=x\nLD_PRELOAD=/x\n"),
        (keeping.of_settings(SETTINGS), SETTINGS.replace(b"'localhost'", b"'*'") + b"ssl = on\n"),
        (keeping.of_networks, ["0.0.0.0/0", "not a network"]),
    ],
)
def test_what_the_inventory_does_not_take_is_not_suggested(said: Any, edited: Any) -> None:
    assert said(edited) == ""


def test_networks_that_somebody_let_in_are_read_from_our_block_only() -> None:
    block = Access("mlflow", "mlflow", ("127.0.0.1/32", "10.151.0.0/24")).block
    content = b"host all all 10.9.0.0/16 md5\n" + block + b"host all all 10.8.0.0/16 md5\n"
    assert hba.networks(content) == ["127.0.0.1/32", "10.151.0.0/24"]
    assert keeping.of_networks(["10.151.0.0/24"]) == '[database] allow = ["10.151.0.0/24"]'


def test_nothing_is_said_where_the_settings_themselves_were_changed() -> None:
    def planned(name: str, text: str) -> Any:
        return SimpleNamespace(id=name, change=Change("change", "edited", keep=text))

    edits = [planned("file:a", "a = 1\nb = 2"), planned("file:b", ""), planned("file:c", "a = 1")]
    assert keep(edits) == ["a = 1", "b = 2"]
    assert keep([*edits, planned("file:stack.toml", "")]) == []
