"""Whose fault a failing artifact is: the store, the bucket, its key, or MLflow's own settings."""

from __future__ import annotations

from provisioner.verify.context import Context
from provisioner.verify.faults import Fault
from provisioner.verify.http import HttpError
from provisioner.verify.s3 import StoreAccess, s3_code, s3_request

_WHAT = "Runs are logged; artifacts and models are neither stored nor loaded. MLflow's own /health stays green."


def blamed(context: Context, detail: str, doing: str) -> Fault:
    """The fault behind an artifact request that MLflow could not serve.

    MLflow's own answer is 500 "Internal Server Error" for all of them, so the store is asked, as
    MLflow's user, when there is a way to it.
    """
    detail = f"{doing}: {detail}"
    access = context.store
    if access is None:
        why = "The store is down, its bucket is gone, or MLflow's key for it is wrong."
        owner = "look at the server's log (it has the S3 error)"
        return Fault("store", detail, what=_WHAT, why=why, step="bucket", owner=owner)
    try:
        response = s3_request(
            access,
            "GET",
            f"/{access.bucket}",
            context.deadline.within(6),
            {"list-type": "2", "max-keys": "1"},
        )
    except (HttpError, TimeoutError) as error:
        return down(access, detail, str(error))
    code = s3_code(response.body)
    if response.status == 200:
        why = (
            "The store and its key are fine, so MLflow uses another address, bucket or key (its environment "
            "file), or cannot reach its own address from its own host."
        )
        return Fault("store-settings", detail, what=_WHAT, why=why, step="mlflow")
    if code == "NoSuchBucket" or (response.status == 404 and not code):
        what = f"The bucket {access.bucket} is gone, and with it every artifact and model. Runs are still logged."
        why = f"The store has no bucket {access.bucket}."
        return Fault("bucket-gone", detail, what=what, why=why, step="bucket")
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
        why = "The store does not accept the key of this stack: its user was removed, or the secret changed there."
        return Fault("store-key", detail, what=_WHAT, why=why, step="bucket")
    if response.status == 403:
        why = f"The policy of MLflow's user in the store does not allow the bucket {access.bucket}."
        return Fault("store-policy", detail, what=_WHAT, why=why, step="bucket")
    if response.status >= 500:
        why = f"The object store itself fails: HTTP {response.status} {code}".rstrip() + "."
        return Fault("store-error", detail, what=_WHAT, why=why, step=access.step)
    why = f"The object store answers HTTP {response.status} {code}".rstrip() + "."
    return Fault("store", detail, what=_WHAT, why=why, step="bucket")


def down(access: StoreAccess, detail: str, said: str) -> Fault:
    """The store gives no answer, or none in time."""
    why = f"The object store does not answer at {access.endpoint} ({said})."
    return Fault("store-down", detail, what=_WHAT, why=why, step=access.step)
