"""Why the database's engine cannot just be changed on a stack that has runs, and how it is done by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.artifact_moves import GUIDE
from provisioner.resources.mark import HAD

if TYPE_CHECKING:
    from provisioner.settings import Recorded, Settings


def by_hand(recorded: Recorded, wanted: Settings) -> tuple[str, str]:
    """(what would have to move and what clients must change, the way back and the manual way)."""
    before, after = str(recorded.values.get("database.engine")), wanted.database.engine
    name = recorded.values.get("database.name", "mlflow")
    why = (
        "the server would start on an empty database beside the one that holds the runs; every table would have to "
        "move there first; clients change nothing"
    )
    if "mysql" in (before, after):
        why += "; between PostgreSQL and MySQL that is no dump: MLflow has no tool for it"
    way = (
        f"keep it: --set database.engine={before}, and database.engine out of the inventory\n"
        f"by hand ({GUIDE}): stop MLflow, bring a dump of {name} into the new database, then on the server\n"
        f"  rm -f {HAD}/database.* {HAD}/role.*\n"
        "and this command again"
    )
    return why, way
