"""MLflow's REST calls as a client makes them, and readers for what they give back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from provisioner.values import dataclass
from provisioner.verify import faults
from provisioner.verify.deadline import Deadline
from provisioner.verify.http import Client, HttpError, Response
from provisioner.verify.target import Target, origin_of

_API = "/api/2.0/mlflow/"


@dataclass(frozen=True)
class Answer:
    """An answer of MLflow's API; `code` is its own error_code when it is not success."""

    response: Response
    data: Mapping[str, Any]
    code: str = ""

    @property
    def ok(self) -> bool:
        return self.response.status == 200


class Api:
    """The server behind a target: one client, the login on every request to the URL's origin."""

    def __init__(self, target: Target, deadline: Deadline):
        self.target = target
        self.client = Client(
            deadline, target.origin, target.connect, target.ca_file, target.ca, target.insecure, target.client_cert
        )
        if target.exposed is not None:
            self.client.also = origin_of(target.exposed.endpoint)
        self._login = target.authorization()

    def raw(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        login: bool = True,
        timeout: float = 10.0,
        limit: int = 4 * 2**20,
    ) -> Response:
        """One request to `path` under the URL. Raises `HttpError`."""
        sent = {"User-Agent": "provision-verify", **(headers or {})}
        if login and self._login is not None:
            sent["Authorization"] = self._login
        where = self.target.prefix + path
        return self.client.request(
            method, self.target.origin, where, headers=sent, body=body, timeout=timeout, limit=limit
        )

    def call(
        self,
        method: str,
        name: str,
        fields: Mapping[str, object] | None = None,
        *,
        doing: str = "",
        headers: Mapping[str, str] | None = None,
        login: bool = True,
        timeout: float = 10.0,
    ) -> Answer:
        """A call such as `call("POST", "runs/create", {...})`; fields go into the query of a GET
        and into a JSON body otherwise. `name` with a leading slash is a path of its own.

        Success must be a JSON object, else a Fault; other statuses are returned for the caller.
        """
        doing = doing or name
        path = name if name.startswith("/") else _API + name
        body = None
        sent = dict(headers or {})
        if method == "GET":
            if fields:
                path += "?" + urlencode({key: str(value) for key, value in fields.items()})
        else:
            body = json.dumps(fields or {}).encode()
            sent["Content-Type"] = "application/json"
        try:
            response = self.raw(method, path, body=body, headers=sent, login=login, timeout=timeout)
        except HttpError as error:
            raise faults.answered(self.target, error, doing) from None
        data = json_object(response.body)
        if response.status == 200 and data is None:
            raise faults.not_mlflow(self.target, doing, response)
        data = data or {}
        code = data.get("error_code", "")
        return Answer(response, data, code if isinstance(code, str) else "")

    def must(
        self, method: str, name: str, fields: Mapping[str, object] | None = None, *, doing: str
    ) -> Mapping[str, Any]:
        """Like `call`; anything but success is a Fault."""
        answer = self.call(method, name, fields, doing=doing)
        if not answer.ok:
            raise faults.refused(self.target, answer.response, doing)
        return answer.data

    def close(self) -> None:
        self.client.close()


def json_object(body: bytes) -> Mapping[str, Any] | None:
    """The JSON object in `body`, which every success of MLflow's API is; None for anything else."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def at(data: object, *path: str | int) -> Any:
    """The value at `path` in decoded JSON, None where there is none."""
    for step in path:
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            return None
    return data


def word(data: object, *path: str | int) -> str:
    """The short string at `path`; empty when it is absent or something else."""
    value = at(data, *path)
    return value if isinstance(value, str) and len(value) <= 4096 else ""


def items(data: object, *path: str | int) -> Sequence[Any]:
    """The list at `path`; empty when it is absent or something else (protobuf leaves empty lists out)."""
    value = at(data, *path)
    return value if isinstance(value, list) else []


def pairs(data: object, *path: str | int) -> dict[str, str]:
    """A list of {"key", "value"} objects at `path` as a dict."""
    return {word(item, "key"): word(item, "value") for item in items(data, *path)}


def artifact_path(artifact_uri: str, *names: str) -> str | None:
    """The path under /api/2.0/mlflow-artifacts/artifacts/ of a file in `artifact_uri`, quoted; None
    when the artifacts do not go through the server (`s3://...`) or the URI is not a plain path."""
    scheme, colon, rest = artifact_uri.partition(":/")
    if scheme != "mlflow-artifacts" or not colon:
        return None
    parts = [*rest.strip("/").split("/"), *names]
    if rest.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return None
    return "/".join(quote(part, safe="") for part in parts)
