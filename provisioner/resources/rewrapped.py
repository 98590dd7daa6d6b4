"""What a service keeps encrypted in its database, moved when its passphrase gets a new version.

The passphrase that the stored keys are wrapped with is the one in the service's environment file, as long as
that file is there: it is replaced after them, so a run killed in between finds the earlier one again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Look, Probe, Seen
from provisioner.engine.quoting import emit, word
from provisioner.engine.resource import Change, HostResource
from provisioner.resources.paths import PathProbe
from provisioner.runtime import mlflow as runtime
from provisioner.secrets import Secret
from provisioner.values import dataclass

PASSPHRASE, VERSION = "MLFLOW_CRYPTO_KEK_PASSPHRASE", "MLFLOW_CRYPTO_KEK_VERSION"
_LINE = re.compile(rf"^({PASSPHRASE}|{VERSION})=(\"?)(.*)\2$", re.MULTILINE)


@dataclass(frozen=True)
class KeysLook(Look[int]):
    """The version that the keys were moved to in this run. The file says it too, once it is replaced."""

    env_file: str


@dataclass(frozen=True, kw_only=True)
class Rewrapped(HostResource):
    """Keys that are wrapped with this version of the passphrase."""

    patience: ClassVar[float] = 360.0

    environment: str
    """Path of the service's Python environment."""
    env_file: str
    unit: str
    passphrase: Secret
    version: int
    database: Secret
    """Address of the database with the password that it shall have."""

    @property
    def probe(self) -> PathProbe:
        return PathProbe(self.env_file)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe,)

    def diff(self, seen: Seen) -> Change | None:
        before = _kept(seen, self.probe)
        # The same version with other letters is an edit of the file, not another passphrase of the keys.
        if before is None or self.version in (before[1], seen.get(KeysLook(self.env_file))):
            return None
        return Change(
            "run",
            f"wrapped with version {before[1]} of the passphrase, wanted {self.version}",
            title="keys that MLflow stores",
            interrupts=f"{self.unit} is stopped meanwhile, clients wait about 20 s",
            payload=before,
        )

    def after(self, seen: Seen) -> Seen:
        return seen.put(KeysLook(self.env_file), self.version)

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = []
        for keys, change in items:
            passphrase, version = change.payload
            before, wanted = (passphrase.reveal(), version), (keys.passphrase.reveal(), keys.version)
            rewrap = partial(runtime.rewrap, keys.environment, env_file=keys.env_file, database=keys.database)
            back = rewrap(before=wanted, wanted=before)
            parts += [
                f"undo_unit {word(keys.unit)} {word(keys.env_file)}",
                f"systemctl stop {word(keys.unit)}",
                rewrap(before=before, wanted=wanted),
                f"{emit((back + chr(10)).encode())} | revert",
            ]
        return "\n".join(parts)


def _kept(seen: Seen, probe: PathProbe) -> tuple[Secret, int] | None:
    """The passphrase and version that the file has; None when it has none."""
    state = seen[probe]
    if state.kind != "file" or not isinstance(state.content, bytes):
        return None
    found = {m[1]: (m[3], bool(m[2])) for m in _LINE.finditer(state.content.decode("utf-8", "replace"))}
    if PASSPHRASE not in found:
        return None
    text, quoted = found[PASSPHRASE]
    version, _ = found.get(VERSION, ("1", False))
    # What assets.env_value escapes in double quotes.
    passphrase = re.sub(r'\\([\\"$`])', r"\1", text) if quoted else text
    return Secret(passphrase), int(version) if re.fullmatch(r"[1-9][0-9]{0,8}", version) else 1
