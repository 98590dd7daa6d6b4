"""A server of somebody else's, as MLflow's client on this machine would meet it: its variables, its file."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from provisioner.errors import UsageError
from provisioner.secrets import Secret
from provisioner.verify.target import Target, origin_of

_TRUE = ("true", "1")
_ROOM = 65536
"""Bytes of a credentials file."""


def target_from(url: str, env: Mapping[str, str]) -> Target:
    """The target of `verify --tracking-uri URL`, with MLflow's own variables from `env`
    (MLFLOW_TRACKING_USERNAME, _PASSWORD, _TOKEN, _SERVER_CERT_PATH, _CLIENT_CERT_PATH, _INSECURE_TLS), the
    login of ~/.mlflow/credentials where no variable gives one, and requests' REQUESTS_CA_BUNDLE.

    A login inside the URL is taken out of it. Raises `UsageError` for anything that is not an
    http(s) URL, and for settings that only MLflow's own client can follow.
    """
    try:
        origin = origin_of(url)
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError("The tracking URI cannot be used.", why=f"{error}.", next=_example(url)) from None
    for name, what in (("AUTH", "an authentication plugin"), ("AWS_SIGV4", "AWS keys")):
        value = env.get(f"MLFLOW_TRACKING_{name}", "")
        if value and value.lower() not in ("false", "0"):
            raise UsageError(
                f"MLFLOW_TRACKING_{name} is set: requests to this server are signed by {what}.",
                why="That is done inside MLflow's own client.",
                next="add --client PYTHON, a Python with MLflow in it",
            )
    insecure = env.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in _TRUE
    own = env.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None
    if insecure and own:
        raise UsageError(
            "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH are both set.",
            why="MLflow's client refuses to work with both.",
            next="unset MLFLOW_TRACKING_INSECURE_TLS",
        )
    kept = _credentials(env)
    username = env.get("MLFLOW_TRACKING_USERNAME") or kept[0] or unquote(parts.username or "")
    password = env.get("MLFLOW_TRACKING_PASSWORD") or kept[1] or unquote(parts.password or "")
    token = env.get("MLFLOW_TRACKING_TOKEN", "")
    for name, value in (("user name", username), ("password", password), ("token", token)):
        if any(ord(c) < 32 or ord(c) == 127 for c in value):
            raise UsageError(f"The {name} contains a control character.", next="set it again without one")
    bundle = env.get("REQUESTS_CA_BUNDLE") or env.get("CURL_CA_BUNDLE") or _public()
    return Target(
        url=f"{origin}{parts.path.rstrip('/')}",
        username=username,
        password=Secret(password) if password else None,
        token=Secret(token) if token else None,
        ca_file=own or bundle,
        bundle=bundle,
        client_cert=env.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None,
        insecure=insecure,
    )


def scheme_of(url: str) -> str:
    """The scheme in lower case; empty without one. `databricks` and `host:5000` have none."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):(?=\D|$)", url)
    return found[1].lower() if found else ""


def is_host(url: str) -> bool:
    """Whether it is a server's name or address whose http:// was forgotten: `10.0.0.1:5000`, `mlflow.example.com`."""
    named = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[\w-]+(\.[\w-]+)*)(:\d{1,5})?(/\S*)?", url)
    return named is not None and not scheme_of(url) and bool(named[2] or named[3])


def _example(url: str) -> str:
    return (
        f"write it with its scheme: http://{url}"
        if is_host(url)
        else "give a URL such as http://mlflow.example.com:5000"
    )


def _public() -> str | None:
    """The roots that requests trusts: its own list, not this system's. None where the list is not installed."""
    try:
        import certifi
    except ImportError:
        return None
    return certifi.where()


def _credentials(env: Mapping[str, str]) -> tuple[str, str]:
    """User name and password of ~/.mlflow/credentials (mlflow/utils/credentials.py), empty where there are none."""
    home = env.get("HOME")
    try:
        with (Path(home or "/nowhere") / ".mlflow" / "credentials").open(encoding="utf-8") as file:
            text = file.read(_ROOM)
        # Raw: a % in a password is a %.
        found = configparser.RawConfigParser()
        found.read_string(text)
    except (OSError, UnicodeDecodeError, configparser.Error):
        return "", ""
    section = found["mlflow"] if found.has_section("mlflow") else {}
    return section.get("mlflow_tracking_username", ""), section.get("mlflow_tracking_password", "")
