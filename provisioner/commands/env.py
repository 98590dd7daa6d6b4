"""`env`: what a client must set, ready for a shell, a file or a program."""

from __future__ import annotations

import json
import shlex
import sys

from provisioner.certificates.material import trusted
from provisioner.commands.access import LOGIN, direct_store, private_roots, store_url
from provisioner.commands.options import Options, one_stack, select, session
from provisioner.commands.view import View, look_at_record
from provisioner.errors import Exit, Refused, UsageError
from provisioner.secret_kinds import own_store


def env(options: Options, format: str, ca: str | None = None) -> Exit:
    """Print the variables of the recorded stack on stdout; nothing at all when they cannot be told.

    `ca`: where to write the roots that clients must trust; by default in the stack's folder of this machine.
    """
    if format not in FORMATS:
        raise UsageError(f"--format {format} is not known", next=f"one of: {', '.join(FORMATS)}")
    request = one_stack(options)
    with session(request, options) as connection:
        view = look_at_record(connection, request)
    sys.stdout.write(FORMATS[format]({**variables(view), **_trust(view, ca)}))
    return Exit.OK


def _trust(view: View, ca: str | None) -> dict[str, str]:
    """Writes the file of roots, where clients need one or it was asked for, and names it to what reads it:
    MLflow, requests (presigned requests read only that), and boto3."""
    found = private_roots(view.settings, view.context.secrets)
    if found is None and ca is None:
        return {}
    if ca is not None and view.settings.certifies and view.settings.access.encryption != "internal":
        # Not for the URL: for who reaches the database past it.
        own = trusted("internal", view.context.secrets)
        found = f"{own}{found or ''}" if own and found != "" else ""
    if found == "":
        raise Refused(
            "the stack's root certificate is not known",
            why="its secret is neither on the host nor on this machine",
            next=f"provision {select(view.request)}",
        )
    from provisioner.commands import roots

    path = roots.write(ca, found or "") if ca is not None else roots.keep(view.request.id, found or "")
    return dict.fromkeys(("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"), str(path))


def variables(view: View) -> dict[str, str]:
    """Where MLflow's client finds the server, and as whom it comes; secrets revealed."""
    found = _place(view)
    if view.settings.access.auth != "none":
        found["MLFLOW_TRACKING_USERNAME"] = LOGIN
        found["MLFLOW_TRACKING_PASSWORD"] = view.context.secrets["login"].reveal()
    store = direct_store(store_url(view.named(), view.settings), view.settings, view.context.secrets)
    if store is not None:
        found["MLFLOW_S3_ENDPOINT_URL"] = store.endpoint
        found["AWS_ACCESS_KEY_ID"] = store.access_key
        found["AWS_SECRET_ACCESS_KEY"] = store.secret_key.reveal()
        # A region of the user's own profile would be signed instead, and refused.
        found["AWS_DEFAULT_REGION"] = store.region
        if store.virtual:
            found["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"] = "virtual"
        if not own_store(view.settings):
            # Servers of before 2025 do not take boto3's newer checksums (boto/boto3#4392).
            found["AWS_REQUEST_CHECKSUM_CALCULATION"] = "when_required"
            found["AWS_RESPONSE_CHECKSUM_VALIDATION"] = "when_required"
    return found


def _place(view: View) -> dict[str, str]:
    """The tracking server. One that passes artifacts on is none: it is named where experiments are made, and must not
    take the place of the tracking server in a shell."""
    if view.settings.mlflow.tracks:
        return {"MLFLOW_TRACKING_URI": view.named().url}
    return {"MLFLOW_ARTIFACT_LOCATION": f"mlflow-artifacts://{view.named().authority}"}


def shell(values: dict[str, str]) -> str:
    """Lines for a POSIX shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _dotenv(values: dict[str, str]) -> str:
    """Single quotes where the value has none: python-dotenv and Docker's reader take them literally."""
    lines = []
    for name, value in values.items():
        if all(c.isalnum() or c in "_-./:@" for c in value):
            lines.append(f"{name}={value}")
        else:
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            lines.append(f"{name}='{escaped}'")
    return "\n".join(lines) + "\n"


def _json(values: dict[str, str]) -> str:
    return json.dumps(values, indent=1) + "\n"


def _python(values: dict[str, str]) -> str:
    lines = "".join(f"os.environ[{name!r}] = {value!r}\n" for name, value in values.items())
    return f"import os\n{lines}"


FORMATS = {"shell": shell, "dotenv": _dotenv, "json": _json, "python": _python}
