"""Commands that work on one stack: which option chooses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.commands.options import Options, one_stack
from provisioner.errors import UsageError


def roles(host: str) -> str:
    return "".join(f'{role} = ["{host}"]\n' for role in ("store", "database", "mlflow", "proxy"))


def test_of_several_named_stacks_the_option_that_knows_names_is_told(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.toml"
    inventory.write_text(f"[stacks.a.roles]\n{roles('10.0.0.1')}[stacks.b.roles]\n{roles('10.0.0.2')}")
    with pytest.raises(UsageError) as refused:
        one_stack(Options(inventory=str(inventory)))
    assert "here are 2: a, b" in refused.value.what
    assert refused.value.next == "add --stack NAME"
    assert one_stack(Options(inventory=str(inventory), names=("b",))).host.name == "10.0.0.2"


def test_of_several_hosts_the_option_for_a_host_is_told() -> None:
    with pytest.raises(UsageError) as refused:
        one_stack(Options(hosts=("10.0.0.1", "10.0.0.2"), default_inventory=False))
    assert refused.value.next == "add --host HOST"
