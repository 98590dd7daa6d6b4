"""A step is called by its name; another engine's name says which engine the stack has."""

from __future__ import annotations

import pytest

from provisioner.errors import Exit, UsageError
from provisioner.settings import effective
from provisioner.steps import named


def test_the_other_stores_name_says_which_store_this_stack_has() -> None:
    with pytest.raises(UsageError) as error:
        named("seaweedfs", effective({}, {}), "--host mlflow-1")
    assert error.value.exit == Exit.USAGE
    assert error.value.why == "its store is minio"
    assert error.value.next == "provision minio --host mlflow-1"


def test_a_new_stack_can_still_choose_its_store() -> None:
    with pytest.raises(UsageError) as error:
        named("seaweedfs", effective({}, {}), "--host mlflow-1", new=True)
    assert "provision seaweedfs --set store.engine=seaweedfs --host mlflow-1" in error.value.next


def test_the_chosen_stores_name_is_its_step() -> None:
    assert named("seaweedfs", effective({"store.engine": "seaweedfs"}, {})).name == "seaweedfs"


def test_a_word_that_is_no_step_lists_the_steps() -> None:
    with pytest.raises(UsageError, match="no step is called frob") as error:
        named("frob", effective({}, {}))
    assert "mlflow" in error.value.next
