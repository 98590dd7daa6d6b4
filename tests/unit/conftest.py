"""Unit tests import their neighbours (`shells`) and keep the operator's own state out of reach."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from provisioner import secrets

sys.path.insert(0, str(Path(__file__).parent))

# Few examples where somebody waits, more in CI (.ci/run). No deadline: a busy machine is no failure.
settings.register_profile("examples", max_examples=int(os.environ.get("PROVISION_TEST_EXAMPLES", "25")), deadline=None)
settings.load_profile("examples")


@pytest.fixture(autouse=True)
def private_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(autouse=True)
def own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts as secret in one test is no word of another's."""
    monkeypatch.setattr(secrets, "_known", set(secrets._known))
