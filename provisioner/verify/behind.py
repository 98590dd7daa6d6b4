"""What only the operator can see: the row in the database, and what MLflow's key may not do."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any

from provisioner.verify import direct
from provisioner.verify.artifacts import FOLDER, LARGE
from provisioner.verify.context import Context, Finding, Step
from provisioner.verify.deadline import bounded
from provisioner.verify.faults import Fault, clean
from provisioner.verify.http import HttpError
from provisioner.verify.s3 import StoreAccess, bucket_names, s3_code, s3_request
from provisioner.verify.storefaults import blamed, down


def database_row(context: Context) -> str:
    """The run is in the stack's own database, read as MLflow's own role.

    A server whose environment file is missing starts on a fresh SQLite file in its working
    directory, and everything looks right through the API.
    """
    database = context.database
    assert database is not None

    def look() -> tuple[Any, ...] | None:
        connection = database.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT experiment_id FROM runs WHERE run_uuid = %s", (context.run_id,))
                row: tuple[Any, ...] | None = cursor.fetchone()
                return row
        finally:
            connection.close()

    try:
        row = bounded(context.deadline.within(10).remaining, look)
    except TimeoutError:
        raise _unseen("no answer from the database within 10 s", database.step) from None
    except Exception as error:
        text = clean(str(error), 200)
        gone = re.search(r"does not exist|doesn't exist|Unknown database", text)
        if gone and "runs" in text:
            row = None
        else:
            step = database.login if gone or re.search("authentication|Access denied", text) else database.step
            raise _unseen(text, step) from None
    if row is None:
        what = "MLflow writes into another database than this stack's: nothing logged now is in its backups."
        why = (
            "The run is not in the stack's database. A server without its environment file falls back to an "
            "SQLite file of its own."
        )
        raise Fault("other-database", "the test run's row is missing", what=what, why=why, step="mlflow")
    if str(row[0]) != context.experiment_id:
        raise _unseen("the run's row belongs to another experiment", "mlflow")
    return "the run's row"


def _unseen(text: str, step: str) -> Fault:
    what = "MLflow answers, but the stack's database cannot be read as MLflow's role."
    why = "MLflow uses another database, or lives on connections made before the role or the server changed."
    return Fault("database", text, what=what, why=why, step=step)


def bucket_policy(context: Context) -> Finding:
    """MLflow's key opens its bucket and nothing else: no other bucket, no new one."""
    access = context.store
    assert access is not None
    return _opens_only(context, access, "")


def client_policy(context: Context) -> Finding:
    """The same of the key that clients have."""
    access = context.store
    assert access is not None
    assert access.clients is not None
    clients = access.clients
    theirs = replace(access, access_key=clients.access_key, secret_key=clients.secret_key)
    return _opens_only(context, theirs, access.prefix)


def _opens_only(context: Context, access: StoreAccess, folder: str) -> Finding:
    if context.fault is not None and context.fault.id.startswith(("store", "bucket-gone")):
        return Finding("needs artifact-upload", "skip")
    deadline = context.deadline.within(15)
    spare = f"provision-verify-{os.urandom(6).hex()}"
    try:
        look = {"list-type": "2", "max-keys": "1"}
        own = s3_request(
            access, "GET", f"/{access.bucket}", deadline, {**look, "prefix": f"{folder}/"} if folder else look
        )
        if own.status != 200:
            raise blamed(context, f"HTTP {own.status} {s3_code(own.body)}".rstrip(), "the store's own view")
        visible = s3_request(access, "GET", "/", deadline)
        others = [name for name in bucket_names(visible.body) if name != access.bucket]
        for name in [*others[:2], spare]:
            other = s3_request(access, "GET", f"/{name}", deadline, look)
            if other.status == 200:
                raise _too_much(f"it lists the bucket {clean(name, 63)}")
        if folder and s3_request(access, "GET", f"/{access.bucket}", deadline, look).status == 200:
            raise _too_much(f"it lists more than the folder {folder}")
        made = s3_request(access, "PUT", f"/{spare}", deadline)
        if made.status == 200:
            s3_request(access, "DELETE", f"/{spare}", deadline)
            raise _too_much("it makes new buckets")
    except HttpError as error:
        raise down(access, f"the store's own view: {error}", str(error)) from None
    if made.status != 403:
        return Finding(f"CreateBucket: HTTP {made.status} {s3_code(made.body)}, AccessDenied was expected", "warn")
    place = f"the folder {folder} of the bucket {access.bucket}" if folder else f"the bucket {access.bucket}"
    return Finding(f"only {place}; no other, no new one")


def bucket_object(context: Context) -> str:
    """The uploaded object is in the stack's bucket: a server without MLFLOW_ARTIFACTS_DESTINATION
    writes into ./mlartifacts of its own, and everything looks right through the API."""
    access = context.store
    assert access is not None
    try:
        seen = s3_request(
            access, "HEAD", f"/{access.bucket}/{key(context, access, LARGE)}", context.deadline.within(10)
        )
    except HttpError as error:
        raise down(access, f"the object in the bucket: {error}", str(error)) from None
    if seen.status == 404:
        what = "Artifacts and models are stored outside this stack's bucket: they are not in its backups."
        why = "The uploaded object is not in the bucket. A server without its environment file writes to its own disk."
        raise Fault("other-store", f"not in the bucket {access.bucket}", what=what, why=why, step="mlflow")
    if seen.status != 200:
        raise blamed(context, f"HTTP {seen.status}", "the object in the bucket")
    if seen.headers.get("content-length") != str(len(context.payload)):
        what = "Objects in the bucket are not what was uploaded."
        raise Fault("corrupted", "the object's size differs", what=what, step=access.step)
    return f"in the bucket {access.bucket}"


def key(context: Context, access: StoreAccess, name: str) -> str:
    """The uploaded file `name` as the bucket has it."""
    straight = direct.key_of(context.artifact_uri)
    path = straight[1] if straight else context.artifact_uri.partition(":/")[2]
    if straight is None and access.prefix:
        path = f"{access.prefix}/{path}"
    return f"{path.strip('/')}/{FOLDER}/{name}"


def _too_much(detail: str) -> Fault:
    what = "Whoever gets MLflow's key for the store gets more than MLflow's bucket."
    return Fault(
        "store-rights",
        detail,
        what=what,
        why="The policy of MLflow's user in the store is too wide.",
        step="bucket",
    )


DATABASE = Step("database-row", "row in the database", "database", database_row, ("run",))
STORE = (
    Step("bucket-object", "object in the bucket", "store", bucket_object, ("artifact-upload",)),
    Step("bucket-policy", "store's key", "store", bucket_policy),
)
CLIENTS = Step("client-policy", "clients' key", "store", client_policy)
