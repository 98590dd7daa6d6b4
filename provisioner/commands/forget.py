"""`forget-key`: a rebuilt host has a new SSH key; forgetting the old one is the operator's decision."""

from __future__ import annotations

import sys

from provisioner.errors import Exit


def forget_key(name: str) -> Exit:
    """Remove what the tool itself recorded; the user's own known_hosts is never written."""
    from provisioner.transport.hostkeys import forget

    removed = forget(name)
    if removed:
        print(f"forgot {removed} key{'s' if removed > 1 else ''} of {name}; the next connection records the new one")
    else:
        print(f"no key of {name} is recorded by this tool", file=sys.stderr)
        print(f"next   if ~/.ssh/known_hosts holds it:  ssh-keygen -R {name}", file=sys.stderr)
    return Exit.OK
