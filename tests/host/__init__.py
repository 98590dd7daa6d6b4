"""Host tests share the unit tests' helpers."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit"))
pytest.register_assert_rewrite(f"{__name__}.siege")
