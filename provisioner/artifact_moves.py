"""Why a setting of the artifacts cannot just be changed on a stack that has some, and how it is done by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.resources.mark import HAD

if TYPE_CHECKING:
    from provisioner.settings import Recorded, Settings

GUIDE = "docs/switching.md"


def by_hand(key: str, recorded: Recorded, wanted: Settings) -> tuple[str, str]:
    """(what would have to move and what clients must change, the way back and the manual way) for a changed
    `store.…` or `artifacts.…` key."""
    before, after = recorded.values.get(key), wanted.get(key)
    if key == "artifacts.mode":
        why = _mode(recorded, wanted)
    elif key == "artifacts.prefix":
        why = _prefix(recorded, wanted)
    elif key == "store.engine":
        why = _engine(str(before), str(after))
    elif key == "store.drives":
        why = (
            "the objects are spread over the drives that were named: with others in their place, or without one of "
            "them, the store would not find them; further ones can be added behind them; clients change nothing"
        )
    else:
        why = f"{_MOVES}; every object would have to move there first; {_SAME}"
    own = ""
    if key == "store.drives":
        own = "to empty one of several pools: mc admin decommission (MinIO's own); its drives stay named here\n"
    if isinstance(before, tuple | list):
        before = "'[" + ", ".join(f'"{each}"' for each in before) + "]'"
    back = f"--set {key}={before}, and {key} out of the inventory" if before else f"leave {key} out"
    bucket = recorded.values.get("store.bucket", wanted.store.bucket)
    way = (
        f"keep it: {back}\n{own}"
        f"by hand ({GUIDE}): stop MLflow, move what is named above, then on the server\n"
        f"  rm {HAD}/bucket-{bucket}\n"
        "and this command again"
    )
    return why, way


_MOVES = "the runs that are there would point at artifacts that the new place does not have"
_SAME = "clients change nothing, as long as the bucket's name stays"


def _place(recorded: Recorded, prefix: object) -> str:
    bucket = recorded.values.get("store.bucket", "mlflow")
    return f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"


def _mode(recorded: Recorded, wanted: Settings) -> str:
    place = _place(recorded, recorded.values.get("artifacts.prefix"))
    if wanted.artifacts.mode == "direct":
        return (
            "experiments, runs and models keep the address that they were made with, and MLflow would pass nothing on "
            f"any more: what is at mlflow-artifacts:/ could not be read; no object would have to move, but each of "
            f"these addresses in the database, to {place}/; clients need boto3 and the store's key: provision env"
        )
    return (
        f"experiments, runs and models keep the address that they were made with: at {place}/ clients would still need "
        "a key, which this stack would no longer tell; no object would have to move, but each of these addresses in "
        "the database, to mlflow-artifacts:/; clients drop the key: provision env"
    )


def _prefix(recorded: Recorded, wanted: Settings) -> str:
    before = _place(recorded, recorded.values.get("artifacts.prefix"))
    after = _place(recorded, wanted.artifacts.prefix)
    if wanted.artifacts.mode == "direct":
        return (
            f"experiments keep the address that they were made with, below {before}/, and the clients' key would open "
            f"{after}/ only; every object would have to move there, and each of these addresses in the database; "
            "clients change nothing"
        )
    return (
        f"MLflow would look for the artifacts of every earlier run below {after}/; every object would have to move "
        f"there from {before}/; clients change nothing"
    )


def _engine(before: str, after: str) -> str:
    if after == "external":
        clients = "clients must reach the new store under its own address and trust its certificate: provision env"
    elif before == "external":
        clients = "clients then find artifacts at this stack's URL: provision env"
    else:
        clients = _SAME
    return f"{_MOVES}; every object would have to move there first; {clients}"
