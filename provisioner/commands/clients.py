"""Who used the URL lately, from the proxy's own log."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from provisioner.engine import probe
from provisioner.engine.probe import Probe
from provisioner.engine.quoting import word
from provisioner.steps.proxy import ACCESS_LOG
from provisioner.transport.base import Session
from provisioner.values import dataclass

_LINES = 50_000
_SHOWN = 20
# After the quoted request comes the status: an unknown login is answered 401 and says nothing of who belongs here.
_COUNTED = 'a != "" && $3 == a || a == "" && $0 !~ /" 40[0-9] [0-9]+ [0-9.]+$/'


@dataclass(frozen=True)
class ClientsProbe(Probe[tuple[str, ...]]):
    """Addresses that logged in with an account, the most frequent first; empty: all that were not refused."""

    account: str

    kind: ClassVar[str] = "clients"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        (only,) = probes
        log = word(ACCESS_LOG)
        return (
            f"[ -f {log} ] || exit 0\n"
            f"tail -n {_LINES} {log} | awk -v a={word(only.account)} '{_COUNTED} {{ n[$1]++ }} "
            f"END {{ for (c in n) print n[c], c }}' | sort -rn | head -n {_SHOWN}"
        )

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[tuple[str, ...]]:
        found = []
        for line in output.decode("ascii", "replace").splitlines():
            _, _, address = line.partition(" ")
            found.append(str(ipaddress.ip_address(address)))
        return [tuple(found)]


def recent(session: Session, account: str = "mlflow") -> tuple[str, ...]:
    """Addresses from which `account` was used (empty: from which anything was let in), the most frequent first; the
    host's own are not left out."""
    look = ClientsProbe(account)
    return probe.look(session, [look])[look]
