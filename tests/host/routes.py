"""Every address that the MLflow on a host answers at, asked of MLflow's own code there."""

from __future__ import annotations

import json
import re

from provisioner.lab.host import LabHost

_PROGRAM = """
import json, warnings
warnings.simplefilter("ignore")
import mlflow.server
from mlflow.server.auth import routes as accounts
from mlflow.server.fastapi_app import create_fastapi_app

found = {(method, rule.rule) for rule in mlflow.server.app.url_map.iter_rules() for method in rule.methods}
for rules in [create_fastapi_app().routes]:
    for rule in rules:
        rules += getattr(getattr(rule, "original_router", None), "routes", [])  # an included router, which holds them
        found |= {(method, rule.path) for method in getattr(rule, "methods", None) or ()}
names = [value for name, value in vars(accounts).items() if name.isupper() and isinstance(value, str)]
found |= {(method, name) for name in names for method in ("GET", "POST", "PATCH", "DELETE")}
print(json.dumps(sorted(found)))
"""


def routes(host: LabHost) -> list[tuple[str, str]]:
    """Method and path, "x" wherever a path takes something."""
    told = host.check("cd / && HOME=/root /opt/mlflow/current/bin/python -", stdin=_PROGRAM, seconds=120)
    found = {(method, re.sub(r"<[^>]*>|{[^}]*}", "x", path)) for method, path in json.loads(told.splitlines()[-1])}
    return sorted((method, path) for method, path in found if method not in {"HEAD", "OPTIONS"})
