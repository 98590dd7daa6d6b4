"""Accounts that MLflow itself keeps: made, given a password and ended through its API."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from provisioner.engine.probe import Look, Probe, Seen
from provisioner.engine.quoting import encode, printable
from provisioner.engine.resource import Change, ClientResource
from provisioner.errors import ProvisionError
from provisioner.resources.forwarded import Connection
from provisioner.resources.unit import UnitProbe
from provisioner.runtime import mlflow as runtime
from provisioner.secrets import Secret
from provisioner.transport.base import Session
from provisioner.values import dataclass

TIMEOUT = 15.0
"""Seconds without an answer."""
STARTING = 60.0
"""Seconds in which a server that was just started may not answer yet: 10 to 20, more on a busy one."""
_RESET = 90.0
"""Seconds for the one command that goes to the database: it imports a driver, and the database may be far."""
_API = "/api/2.0/mlflow/users/"
_LIMIT = 4 * 2**20


@dataclass(frozen=True)
class UsersState:
    """The accounts as MLflow tells them."""

    names: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    """Of those whose login was tried: the ones that MLflow does not let in."""
    unseen: str = ""
    """Why it could not be looked at; empty when it was."""
    away: bool = False
    """Nobody answered: it may still be starting."""


@dataclass(frozen=True)
class UsersLook(Look[UsersState]):
    """Names the accounts of one server among what was seen."""

    port: int


@dataclass(frozen=True, kw_only=True)
class Users(ClientResource):
    """Every account of `passwords` is there and none of `ended`; others are left alone.

    A password is given to MLflow when the account is made. Later it may be changed in MLflow, which is lawful:
    only the operator's own account and those of `tried` must have the one of `passwords`.
    """

    operator: str
    passwords: Mapping[str, Secret] = field(repr=False, compare=False)
    ended: frozenset[str] = frozenset()
    tried: frozenset[str] = frozenset()
    port: int
    unit: str
    environment: str
    """Path of MLflow's Python environment, for the one thing that the API does not do."""
    env_file: str
    database: str
    """Where the accounts are kept, on the server that `env_file` names."""

    @property
    def key(self) -> UsersLook:
        return UsersLook(self.port)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (UnitProbe(self.unit),)

    def ready(self, seen: Seen) -> bool:
        state = seen.get(UnitProbe(self.unit))
        return state is not None and state.active == "active"

    def diff(self, seen: Seen) -> Change | None:
        state, title = seen.get(self.key), "MLflow's accounts"
        if state is None or state.unseen:
            return Change("check", state.unseen if state else "seen only while MLflow answers", title=title)
        if self.operator in state.refused:
            return Change("change", f"{self.operator} has another password", title=title)
        reasons = [f"{name} is absent" for name in self._absent(state)]
        reasons += [f"{name} has another password" for name in sorted(state.refused - set(self._absent(state)))]
        reasons += [f"{name} was removed" for name in sorted(self.ended & state.names)]
        return Change("change", ", ".join(reasons), title=title) if reasons else None

    def _absent(self, state: UsersState) -> list[str]:
        return [name for name in self.passwords if name not in state.names]

    def after(self, seen: Seen) -> Seen:
        state = seen.get(self.key) or UsersState()
        return seen.put(self.key, UsersState((state.names | set(self.passwords)) - self.ended))

    def arrive(self, session: Session) -> None:
        end = time.monotonic() + STARTING
        with session.forward(self.port) as way:
            while self._state(way).away and time.monotonic() < end:
                time.sleep(0.5)

    def look(self, session: Session) -> Seen:
        with session.forward(self.port) as way:
            return Seen({self.key: self._state(way)})

    def _state(self, way: Path) -> UsersState:
        try:
            status, body = self._call(way, "GET", "list")
            if status == 401:
                return UsersState(refused=frozenset({self.operator}))
            if status != 200:
                return UsersState(unseen=f"MLflow answers HTTP {status}: it does not keep accounts yet")
            names = frozenset(str(user["username"]) for user in json.loads(body)["users"])
            tried = sorted((self.tried & names & set(self.passwords)) - {self.operator})
            refused = {name for name in tried if self._call(way, "GET", "current", name)[0] == 401}
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            return UsersState(
                unseen=f"MLflow does not answer: {type(error).__name__}",
                away=isinstance(error, OSError | http.client.HTTPException),
            )
        return UsersState(names, frozenset(refused))

    def perform(self, session: Session, change: Change) -> None:
        if change.action == "check":
            raise ProvisionError(
                "MLflow's accounts cannot be looked at",
                why=change.reason,
                next=f"on the server: journalctl -u {self.unit} -n 50",
            )
        with session.forward(self.port) as way:
            state = self._state(way)
            if self.operator in state.refused:
                self._reset(session)
                state = self._state(way)
            for name in self._absent(state):
                self._must(way, "POST", "create", name, password=self.passwords[name].reveal())
            for name in sorted(state.refused - {self.operator}):
                self._must(way, "PATCH", "update-password", name, password=self.passwords[name].reveal())
            for name in sorted(self.ended & state.names):
                self._must(way, "DELETE", "delete", name)

    def _must(self, way: Path, method: str, call: str, name: str, **fields: str) -> None:
        try:
            status, body = self._call(way, method, call, fields={"username": name, **fields})
        except (OSError, http.client.HTTPException) as error:
            status, body = 0, type(error).__name__.encode()
        if status != 200:
            raise ProvisionError(
                f"the account {name} could not be changed in MLflow",
                why=f"users/{call}: HTTP {status} {printable(body.decode('utf-8', 'replace'))[:200]}",
                next=f"on the server: journalctl -u {self.unit} -n 50",
            )

    def _call(
        self, way: Path, method: str, call: str, name: str = "", fields: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of one request, as `name` (the operator by default)."""
        name = name or self.operator
        pair = base64.b64encode(f"{name}:{self.passwords[name].reveal()}".encode()).decode()
        connection = Connection(way, f"127.0.0.1:{self.port}", TIMEOUT)
        try:
            headers = {"Authorization": f"Basic {pair}", "Content-Type": "application/json", "Connection": "close"}
            connection.request(method, _API + call, json.dumps(fields) if fields else None, headers)
            response = connection.getresponse()
            return response.status, response.read(_LIMIT)
        finally:
            connection.close()

    def _reset(self, session: Session) -> None:
        """The operator's password, in the database: the API wants the one that is not known. From this host, as MLflow
        itself gets there: the database may be on another one."""
        script = runtime.give_password(
            self.environment,
            env_file=self.env_file,
            database=self.database,
            account=self.operator,
            digest=Secret(hashed(self.passwords[self.operator])),
        )
        result = session.run(encode(script), timeout=_RESET, limit=65536)
        told = result.stdout.decode("utf-8", "replace").strip()
        if told == "set 1":
            return
        said = result.stderr.decode("utf-8", "replace").strip() or "no answer"
        raise ProvisionError(
            f"the password of {self.operator} could not be set in MLflow's accounts",
            why=f"there is no account {self.operator}" if told == "set 0" else printable(said)[:300],
            # A start makes the account where it is not there.
            next=f"on the server: systemctl restart {self.unit}" if told == "set 0" else "provision database",
        )


def hashed(password: Secret) -> str:
    """As Werkzeug stores and checks it (`generate_password_hash`, its default method)."""
    salt = secrets.token_urlsafe(12).replace("$", "")
    digest = hashlib.scrypt(
        password.reveal().encode(), salt=salt.encode(), n=32768, r=8, p=1, maxmem=132 * 32768 * 8, dklen=64
    )
    return f"scrypt:32768:8:1${salt}${digest.hex()}"
