"""`forget-key`: a rebuilt host has a new SSH key; forgetting the old one is the operator's decision."""

from __future__ import annotations

import sys

from provisioner.commands.options import Options
from provisioner.errors import Exit
from provisioner.report.answer import answer
from provisioner.transport.fabric import recorded_names
from provisioner.transport.keystore import forget
from provisioner.transport.target import Target


def forget_key(options: Options, name: str) -> Exit:
    """Remove what the tool itself recorded; the user's own known_hosts is never written.

    `name` as --host takes it: the key of a host that the inventory names is kept under its address.
    """
    host = options.named(name)
    names = recorded_names(Target(name, host.address, host.user, host.port))
    gone = forget(names)
    lines = [f"forgot {fingerprint} of {name}" for fingerprint in gone]
    if gone:
        lines.append("The next connection records the new key and shows its fingerprint.")
    answer("forget-key", lines, as_json=options.json, host=name, names=names, forgotten=gone)
    if not gone:
        print(f"no key of {name} is recorded by this tool", file=sys.stderr)
        print(f"next   if ~/.ssh/known_hosts holds it:  ssh-keygen -R '{names[0]}'", file=sys.stderr)
    return Exit.OK
