"""What an nginx was built with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from provisioner.engine.probe import Probe
from provisioner.values import dataclass


@dataclass(frozen=True)
class NginxBuild:
    """The modules that not every build has. Those of the distributions and of nginx.org have them."""

    auth_request: bool = True


@dataclass(frozen=True)
class NginxBuildProbe(Probe[NginxBuild]):
    """Asks the program itself; where there is none, the distribution's is expected."""

    kind: ClassVar[str] = "nginx-build"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        # Found by the path: systemd starts it from there too.
        return "[ ! -x /usr/sbin/nginx ] || /usr/sbin/nginx -V 2>&1 </dev/null | head -c 16384 || :"

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[NginxBuild]:
        words = output.decode("utf-8", "replace").split()
        told = any(word.startswith("--") for word in words)
        found = not told or "--with-http_auth_request_module" in words
        return [NginxBuild(found) for _ in probes]
