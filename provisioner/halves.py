"""Which half of MLflow a server is, and what does not go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.errors import UsageError

if TYPE_CHECKING:
    from provisioner.schema import Access, Artifacts, Database, Mlflow


def agree(mlflow: Mlflow, artifacts: Artifacts, access: Access, database: Database) -> None:
    """UsageError (64) where what the server shall be and how artifacts travel contradict each other."""
    serve, mode = mlflow.serve, artifacts.mode
    if serve == "tracking" and mode != "direct":
        raise UsageError(
            'mlflow.serve = "tracking" needs artifacts.mode = "direct"',
            why="a server that passes no artifacts on has clients who reach the store themselves",
            next='add: --set artifacts.mode=direct; or leave mlflow.serve at "all"',
        )
    if serve == "artifacts" and mode == "direct":
        raise UsageError(
            'mlflow.serve = "artifacts" and artifacts.mode = "direct" leave the server nothing to do',
            why="it tracks nothing then, and clients would go past it to the store",
            next="leave one of them out",
        )
    if serve == "artifacts" and access.auth == "mlflow":
        raise UsageError(
            'mlflow.serve = "artifacts" goes without access.auth = "mlflow"',
            why="MLflow keeps its accounts in a database, which such a server does not have",
            next='access.auth = "password": nginx asks for the login',
        )
    if serve == "artifacts" and database.engine == "external":
        raise UsageError(
            'mlflow.serve = "artifacts" and database.engine = "external" contradict each other',
            why="a server that passes artifacts on has no database",
            next="leave one of them out",
        )
