"""Whether the host reaches what a plan will fetch, asked from where it will be fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self
from urllib.parse import urlsplit

from provisioner.commands.view import View
from provisioner.engine import probe
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.quoting import printable
from provisioner.report.text import size
from provisioner.resources.binary import Binary, reachability
from provisioner.resources.package import Package
from provisioner.transport.base import Session
from provisioner.values import dataclass

# The sites of apt's sources, at most three: a broken third-party list alone stops nothing. Not
# `indextargets`: it is empty until the first `apt-get update`.
_APT_SITES = (
    "apt-get --print-uris update 2>/dev/null | sed -n \"s|^'\\([^/']*/*[^/']*\\)/.*|\\1|p\" | sort -u | head -n 3"
)
_APT_PROXY = "apt-config dump 2>/dev/null | grep -qi '^acquire::[a-z]*::proxy.* \"[^\"]'"


@dataclass(frozen=True)
class ReachProbe(Probe[str]):
    """`ok SIZE`, or `fail REASON`; for apt's own sources when `url` is empty."""

    url: str
    kind: ClassVar[str] = "reach"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        named = [p.url for p in probes if p.url]
        lines = [reachability(named)] if named else []
        if any(not p.url for p in probes):
            # The mirrors' own answer to `/` may be an error page; that they answer is what counts.
            lines.append(
                f"sites=$({_APT_SITES})\n"
                'if [ -z "$sites" ]; then echo "apt fail no package sources are configured"; else\n'
                # Behind a proxy names need not resolve here; files and discs have none.
                f'n=0; if {_APT_PROXY} || [ -n "${{http_proxy:-}}" ]; then n=1; fi\n'
                "for s in $sites; do\n"
                "  case $s in file:* | copy:* | cdrom:*) n=1; continue ;; esac\n"
                "  h=${s#*://}; h=${h%%/*}; h=${h##*@}\n"
                '  getent hosts "${h%%:*}" >/dev/null && n=1\n'
                'done; if [ $n -eq 1 ]; then echo "apt ok 0"\n'
                'else echo "apt fail $(echo "$sites" | tr "\\n" " ")cannot be resolved"; fi; fi'
            )
        return "\n".join(lines)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[str]:
        answers: dict[str, str] = {}
        for line in output.decode("utf-8", "replace").splitlines():
            url, _, answer = line.partition(" ")
            answers["" if url == "apt" else url] = answer
        return [answers.get(p.url, "fail it gave no answer") for p in probes]


def checks(session: Session, view: View) -> list[Check]:
    """One check a download; nothing is asked when the plan fetches nothing."""
    binaries = [p.resource for p in view.plan.changes if isinstance(p.resource, Binary) and p.resource.fetches]
    packages = [p for p in view.plan.changes if isinstance(p.resource, Package)]
    probes = [ReachProbe(url) for binary in binaries for url in binary.fetches]
    if packages:
        probes.append(ReachProbe(""))
    if not probes:
        return []
    seen = probe.look(session, probes, timeout=60)
    found = []
    for binary in binaries:
        for url in binary.fetches:
            found.append(_download(url, seen[ReachProbe(url)], binary.ways_out))
    if packages:
        answer = seen[ReachProbe("")]
        status, _, rest = answer.partition(" ")
        if status == "ok":
            found.append(Check("apt-sources", "apt sources", "ok"))
        else:
            fix = "repair /etc/apt/sources.list (or sources.list.d), or name a proxy in /etc/apt/apt.conf.d"
            found.append(Check("apt-sources", "apt sources", "fail", detail=printable(rest)[:300], fix=fix))
    return found


def _download(url: str, answer: str, ways_out: Sequence[str]) -> Check:
    status, _, rest = answer.partition(" ")
    host = urlsplit(url).hostname or url
    if status == "ok":
        length = f", {size(int(rest))}" if rest.isdigit() and int(rest) else ""
        return Check("download", "download", "ok", detail=f"{host}{length}")
    detail = f"{host} does not answer this server: {printable(rest)[:200]}"
    return Check("download", "download", "fail", detail=detail, fix="\n".join(ways_out))
