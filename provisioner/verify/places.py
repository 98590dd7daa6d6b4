"""Artifacts that do not go through the server: the clients write them where the server says."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from provisioner.verify.context import Context, Finding
from provisioner.verify.faults import Fault, clean


def elsewhere(context: Context) -> Finding:
    """What an artifact address outside MLflow's own API means for clients; a Fault where it cannot work.

    Nothing is written there: the server names the place, and it may name any.
    """
    path = local_path(context.artifact_uri)
    if path is None:
        scheme = clean(context.artifact_uri.partition(":")[0], 20)
        found = f"clients write to {scheme}:// with keys of their own; not tried"
        return Finding(found, "skip", _with_client(context))
    # .../EXPERIMENT/RUN/artifacts: the server makes the two last ones when something is written.
    root = Path(path).parent.parent.parent
    shown = clean(str(root), 100)
    if context.target.origin.loopback:
        found = f"clients on this machine write to {shown} themselves, others cannot; not tried"
        return Finding(found, "skip", _with_client(context))
    if root != Path("/") and root.is_dir():
        found = f"clients write to {shown} themselves, as far as they share this folder with the server; not tried"
        return Finding(found, "skip", _with_client(context))
    raise Fault(
        "artifacts-local",
        f"the server keeps artifacts in {shown}, a folder of its own",
        what="Runs and metrics work. Files and models stay on the disk of whoever logs them: nobody else gets them.",
        why=f"The server tells clients to write to {shown} themselves, which is its own disk; it passes nothing on "
        "(--no-serve-artifacts, or --default-artifact-root with a path).",
        step="mlflow",
        owner="start the server with --artifacts-destination instead; experiments that exist keep the old place",
    )


def local_path(uri: str) -> str | None:
    """The path of an artifact address on a file system; None for any other."""
    if uri.startswith("/"):
        return uri
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" and parts.path.startswith("/") else None


def _with_client(context: Context) -> str | None:
    if context.target.repair is not None:
        return None
    return f"provision verify --tracking-uri {context.target.url} --client PYTHON tries it with an MLflow of yours"
