"""nginx as a service of a host, whatever it serves there: package, confinement, and what was there before it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.assets import render
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources.conffile import ExampleOff
from provisioner.resources.file import File
from provisioner.resources.package import Package, PackageProbe
from provisioner.resources.paths import PathProbe
from provisioner.resources.unit import Service, UnitProbe, record_line
from provisioner.steps import Context, sizes

UNIT = "nginx.service"
PACKAGE = "package:nginx"
DROP_IN = "/etc/systemd/system/nginx.service.d/50-provision.conf"
EXAMPLE = "/etc/nginx/sites-enabled/default"
_MAIN = PathProbe("/etc/nginx/nginx.conf")


def looks(*sites: str) -> Sequence[Probe[Any]]:
    """What must be seen before `sites` can be named as resources."""
    return PackageProbe("nginx"), UnitProbe(UNIT), *map(PathProbe, sites), _MAIN


def guest(context: Context) -> bool:
    """nginx was here before this tool: all of it stays as it is, one site is added."""
    state = context.seen.get(PackageProbe("nginx"))
    return state is not None and state.installed and not state.ours


def worker_group(context: Context) -> str:
    """The group of nginx's workers: nginx.org's packages have another user than the distribution's."""
    match = re.search(rb"^\s*user\s+([a-z_][\w-]{0,31})(?:\s+([a-z_][\w-]{0,31}))?\s*;", _main(context), re.MULTILINE)
    return (match[2] or match[1]).decode() if match else "www-data"


def software(context: Context) -> list[Resource]:
    """The package, and its example out of the way."""
    package = Package(
        id=PACKAGE,
        name="nginx",
        lane="apt",
        # It would start with a site of its own on port 80 before ours is there.
        before="systemctl mask --runtime -q nginx.service",
        size=1_500_000,
    )
    if guest(context):
        return [package]
    example = ExampleOff(
        id="example:nginx",
        link=EXAMPLE,
        example="/etc/nginx/sites-available/default",
        package="nginx-common",
        brought_by="nginx",
        needs=(package.id,),
    )
    return [package, example]


def _inputs(context: Context, files: Sequence[str]) -> tuple[str, ...]:
    """`files` and what else nginx reads of ours when it starts; the first one first."""
    return (*files[:1], DROP_IN, *(() if guest(context) else (EXAMPLE,)), *files[1:])


def drop_in(context: Context, files: Sequence[str]) -> File:
    """How systemd runs it: with a note of the `files` that it has read and, where it is ours, confined."""
    inputs = _inputs(context, files)
    text = render(
        "nginx-drop-in.conf.j2",
        owned=not guest(context),
        sizes=sizes.of(context),
        record_start=record_line(inputs),
        record_reload=record_line(inputs, directive="ExecReload"),
    )
    return File(id="file:nginx-drop-in", path=DROP_IN, content=text.encode(), needs=(PACKAGE,))


def service(context: Context, files: Sequence[str], health: str, needs: tuple[str, ...]) -> Service:
    """It runs, and has read today's `files`; `health`: sh that ends with 0 when it serves them."""
    inputs = _inputs(context, files)
    return Service(
        id=f"unit:{UNIT}",
        unit=UNIT,
        inputs=inputs,
        reloads=inputs if guest(context) else tuple(path for path in inputs if path != DROP_IN),
        health=health,
        cost="requests in flight are cut off",
        needs=needs,
    )


def version(context: Context) -> str:
    """Its version as it was seen; empty where it is not there."""
    state = context.seen.get(PackageProbe("nginx"))
    # Debian's `1:1.22.1-9+deb12u1` is nginx 1.22.1.
    found = re.match(r"(?:\d+:)?([0-9.]+)", str(state.version)) if state is not None and state.installed else None
    return found[1] if found else ""


def port_check(context: Context, port: int, site: str, fix: str, *, others: bool = False) -> Check:
    """Whether `site` may listen on `port`; `fix`: what helps besides stopping who has it, `{free}` a free port.
    `others`: a site that is there may not have this port yet, so that it is another one's of the same nginx."""
    taken = [one for one in context.facts.listeners if one.port == port]
    # Of these two the site may have been removed by hand while nginx still serves it.
    ours = any((state := context.seen.get(PathProbe(path))) and state.kind == "file" for path in (site, DROP_IN))
    if ours and others and (state := context.seen.get(PathProbe(site))) and isinstance(state.content, bytes):
        ours = re.search(rb"^\s*listen [^;]*\b%d\b" % port, state.content, re.MULTILINE) is not None
    foreign = next((one for one in taken if not (ours and one.process.startswith("nginx,"))), None)
    if foreign is None:
        return Check("port", f"port {port}", "ok")
    used = {one.port for one in context.facts.listeners}
    free = next(n for n in range(port + 1, port + 200) if n not in used)
    return Check(
        "port",
        f"port {port}",
        "fail",
        detail=f"in use by {foreign.process or 'a process the kernel does not name'}",
        fix=", or ".join(filter(None, ["stop it", fix.format(free=free)])),
    )


def guest_checks(context: Context) -> Iterable[Check]:
    """Whether an nginx that was here before takes a site of ours."""
    if not guest(context):
        return
    if not re.search(rb"^\s*include\s+[^;#]*conf\.d/\*(\.conf)?\s*;", _main(context), re.MULTILINE):
        yield Check(
            "nginx-guest",
            "nginx",
            "fail",
            detail="the nginx that is here does not include /etc/nginx/conf.d/*.conf",
            fix="add to the http block of /etc/nginx/nginx.conf:  include /etc/nginx/conf.d/*.conf;",
        )
        return
    unit = context.seen.get(UnitProbe(UNIT))
    if unit is not None and unit.active not in {"active", "reloading", "activating"}:
        yield Check("nginx-guest", "nginx", "warn", detail="was here before and does not run: it will be started")
    else:
        yield Check("nginx-guest", "nginx", "ok", detail="was here before: keeps all of its own, one site is added")


def _main(context: Context) -> bytes:
    state = context.seen.get(_MAIN)
    return state.content if state is not None and isinstance(state.content, bytes) else b""
