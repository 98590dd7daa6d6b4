"""`demo`: a disposable server on this machine, provisioned over SSH like any other."""

from __future__ import annotations

import base64
import shlex
import shutil
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

from provisioner import state
from provisioner.commands.apply import apply
from provisioner.commands.options import Options
from provisioner.errors import Exit, ProvisionError, UsageError
from provisioner.report.answer import answer
from provisioner.report.model import Reporter

NAME = "provision-demo"
ADDRESS = "10.151.0.1"
_PATIENCE = 8.0


def demo(options: Options, reporter: Reporter, action: str) -> Exit:
    """`up`: make the host and provision it; `down`: throw both away; `status`: say what is there."""
    actions = {"up": lambda: _up(options, reporter), "down": lambda: _down(options), "status": lambda: _status(options)}
    if action not in actions:
        raise UsageError(f"demo {action} is not known", next="provision demo up, down or status")
    return actions[action]()


def _up(options: Options, reporter: Reporter) -> Exit:
    from provisioner.lab import hosts, identity, machine
    from provisioner.transport.hostkeys import fingerprint

    if options.hosts:
        raise UsageError("demo makes a host of its own", next=f"provision --host {options.hosts[0]}")
    machine.require()
    if any(record.spec.name == NAME for record in hosts.records()):
        print(f"{ADDRESS} is there already: the same run again repairs what differs", file=sys.stderr)
        host = hosts.boot(NAME)  # one that is off, since this machine was restarted for example, comes up
    else:
        print(f"making a server at {ADDRESS}: Debian 12 (the first time takes a minute)", file=sys.stderr)
        _forget()
        host = hosts.start(NAME, ADDRESS, ssh_public_key=_own_keys(), cache=True)
    key = identity.PRIVATE_KEY
    sets = [*options.sets, *_engine(options)]
    mine = replace(
        options,
        hosts=(f"root@{host.address}",),
        sets=tuple(sets),
        identity=str(key),
        default_inventory=False,
        pin=fingerprint(base64.b64decode(host.host_keys()[0].split()[1])),
    )
    code = apply(mine, reporter, ())
    lines = [f"`provision` in this shell:      {line}"] if (line := _path_line()) else []
    if code == Exit.OK:
        lines = [
            f"It is a server like any other:  ssh -i {key} root@{ADDRESS}",
            *lines,
            f"Change it and run again:        provision --host root@{ADDRESS} -i {key}",
            "Throw it away:                  provision demo down",
        ]
    if lines:
        print("", *lines, sep="\n", file=sys.stderr)
    return code


def _path_line() -> str:
    """What makes a shell find `provision`, which every message calls by its name; empty where it does."""
    program = Path(sys.executable).with_name("provision")
    found = shutil.which(program.name)
    if not program.is_file() or (found is not None and Path(found).samefile(program)):
        return ""
    return f'PATH={shlex.quote(str(program.parent))}:"$PATH"'


def _down(options: Options) -> Exit:
    from provisioner.lab import hosts, machine

    machine.require()
    kept = state.stack_dir(state.stack_id(ADDRESS))
    there = any(record.spec.name == NAME for record in hosts.records())
    if there:
        hosts.stop(NAME)
        _forget()
        line = f"the demo server is gone; its secrets and log stay in {kept}"
    else:
        line = "there is no demo server"
    answer("demo down", [line], as_json=options.json, removed=there, kept=str(kept))
    return Exit.OK


def _status(options: Options) -> Exit:
    from provisioner.lab import hosts, machine

    machine.require_root()
    found = next((record for record in hosts.records() if record.spec.name == NAME), None)
    up = found is not None and found.process is not None
    how = "running" if up else "stopped" if found else "absent"
    url = f"http://{ADDRESS}:5000" if up else None
    line = f"{ADDRESS}  {how}  {url or ''}".rstrip() if found else "there is no demo server; make one:  provision demo"
    answer("demo status", [line], as_json=options.json, address=ADDRESS, state=how, url=url)
    return Exit.OK


def _forget() -> None:
    """A new demo server has new keys by design; every other host's change of key stays an error."""
    from provisioner.transport.keystore import forget

    forget([ADDRESS])


def _own_keys() -> list[str]:
    """The user's own public keys, so that plain `ssh root@10.151.0.1` works too."""
    found = []
    for path in sorted((Path.home() / ".ssh").glob("id_*.pub")):
        text = path.read_text(encoding="utf-8", errors="replace").strip()
        if "\n" not in text and text.startswith(("ssh-", "ecdsa-", "sk-")):
            found.append(text)
    return found


def _engine(options: Options) -> list[str]:
    """MinIO when a binary is given or its download answers, SeaweedFS otherwise; said in the output."""
    if any(s.startswith("store.") for s in options.sets) or options.inventory:
        return []
    if (state.stack_dir(state.stack_id(ADDRESS)) / "stack.toml").is_file():
        return []
    try:
        _download_answers()
    except ProvisionError as error:
        print(f"store        SeaweedFS: {error.what}", file=sys.stderr)
        print("             a MinIO binary you have:  provision demo --set store.binary=./minio", file=sys.stderr)
        return ["store.engine=seaweedfs"]
    return []


def _download_answers() -> None:
    from provisioner.steps.minio_builds import DEFAULT

    url = DEFAULT["amd64"].url
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310  a pinned https address
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE):  # noqa: S310
            return
    except (OSError, urllib.error.URLError) as error:
        host = url.split("/")[2]
        raise ProvisionError(f"MinIO's download at {host} does not answer") from error
