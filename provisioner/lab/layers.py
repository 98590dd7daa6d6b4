"""Frozen hosts: what a host had become, as a read-only layer that any number of others start from."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import asdict
from pathlib import Path

from provisioner.errors import Refused
from provisioner.lab import mounts
from provisioner.lab.places import HOSTS, LAYERS, locked
from provisioner.lab.spec import Spec, read
from provisioner.values import dataclass

# overlayfs takes 500 lower layers; far fewer keep mount options below one page.
DEEPEST = 20


@dataclass(frozen=True)
class Layer:
    """`lower`: directories from the topmost (this layer's) down to the image."""

    id: str
    label: str | None
    suite: str
    variant: str
    lower: tuple[str, ...]


def freeze(upper: Path, spec: Spec, label: str | None) -> Layer:
    """Turn the writable layer of a stopped, unmounted host into a layer; leaves an empty one in its place."""
    if label is not None and not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,60}", label):
        raise Refused(f"{label!r} cannot label a layer", next="use lower-case letters, digits, dots and hyphens")
    if len(spec.lower) >= DEEPEST:
        raise Refused(f"{spec.name} already stands on {len(spec.lower)} layers", next="start again from an image")
    with locked("layers"):
        if label is not None:
            old = find(label)
            if old is not None:
                _write(LAYERS / old.id, Layer(old.id, None, old.suite, old.variant, old.lower))
        identifier = uuid.uuid4().hex[:12]
        home = LAYERS / identifier
        home.mkdir(mode=0o700)
        upper.rename(home / "upper")
        upper.mkdir()
        layer = Layer(identifier, label, spec.suite, spec.variant, (str(home / "upper"), *spec.lower))
        _write(home, layer)
        return layer


def find(label: str) -> Layer | None:
    """The layer of that label, made by this process or an earlier one."""
    return next((layer for layer in known() if layer.label == label), None)


def known() -> list[Layer]:
    """Every layer there is."""
    found = []
    for path in sorted(LAYERS.glob("*/layer.json")):
        document = json.loads(path.read_text())
        found.append(Layer(**{**document, "lower": tuple(document["lower"])}))
    return found


def remove(layer: Layer) -> None:
    """Delete a layer; raises Refused while a host or another layer stands on it."""
    with locked("layers"):
        own = str(LAYERS / layer.id / "upper")
        records = [record for path in HOSTS.glob("*/state.json") if (record := read(path))]
        hosts = [record.spec.name for record in records if own in record.spec.lower]
        above = [other.id for other in known() if other.id != layer.id and own in other.lower]
        if hosts or above:
            raise Refused(f"layer {layer.id} is in use", why=f"by {', '.join(hosts + above)}")
        mounts.remove_tree(LAYERS / layer.id)


def _write(home: Path, layer: Layer) -> None:
    staged = home / "layer.new"
    staged.write_text(json.dumps(asdict(layer)) + "\n")
    staged.replace(home / "layer.json")
