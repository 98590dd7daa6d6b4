"""What an exception of MLflow's own client means: what is lost, why, and what helps."""

from __future__ import annotations

import re

from provisioner.errors import UsageError
from provisioner.values import dataclass
from provisioner.verify.environment import scheme_of
from provisioner.verify.faults import Fault, clean

_PLUGINS = {"azureml": "azureml-mlflow", "arn": "sagemaker-mlflow", "databricks": "mlflow[databricks]"}
"""Scheme -> the package that teaches MLflow to speak it."""
_LOGINS = {
    "databricks": "databricks auth login, or set DATABRICKS_HOST and DATABRICKS_TOKEN",
    "azureml": "az login, or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET",
    "arn": "aws configure, or set AWS_PROFILE",
}
_OWN_LOGIN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN)"
_MODULES = {"boto3": "boto3", "google": "google-cloud-storage", "azure": "azure-storage-blob azure-identity"}


@dataclass(frozen=True)
class Failure:
    """A check of the client that failed: the exception's classes, it first and then its causes, MLflow's error
    code, and its words. `lost`: nothing was raised, but what came back is not what was written."""

    check: str
    classes: tuple[str, ...]
    code: str
    text: str
    lost: bool = False

    def has(self, pattern: str) -> bool:
        """Whether a class's name matches."""
        return any(re.search(pattern, name) for name in self.classes)

    def says(self, pattern: str) -> bool:
        return re.search(pattern, self.text, re.I) is not None


def readable(text: str) -> str:
    """`text` without the tags of a page in it, and without what signs the addresses in it."""
    text = re.sub(r"<[!/a-zA-Z][^>]{0,200}>", " ", text)
    return re.sub(r"([?&](?:X-Amz-\w+|X-Goog-\w+|sig|signature|token)=)[^&\s'\"]+", r"\1(secret)", text, flags=re.I)


def scheme_known(uri: str) -> str:
    """The scheme; `databricks` stands for itself and its relatives (databricks-uc)."""
    scheme = scheme_of(uri) or uri
    return "databricks" if scheme.startswith("databricks") else scheme


def fault_of(failure: Failure, uri: str, shown: str, python: str) -> Fault:
    """The fault behind a failed check. Raises UsageError where that Python has no MLflow."""
    scheme = scheme_known(uri)
    said = clean(failure.text, 200)
    if failure.check == "client" and (fault := _setup(failure, scheme, said, python)):
        return fault
    if failure.lost:
        what = "What clients log is not what they read back."
        return Fault("read-back", f"not read back: {said}", what=what, why="The server lost or changed it.")
    if failure.says("databricks-sdk") and failure.has("ModuleNotFoundError"):
        return _lacking(scheme, said, python)
    if _is_login(failure):
        what = "This client is not let in, or may not do what a client does."
        return Fault("login", said, what=what, why=_words(failure), owner=_LOGINS.get(scheme, _OWN_LOGIN))
    if failure.says("CERTIFICATE_VERIFY_FAILED"):
        what, why = "The client refuses to talk to this server.", "It does not know the CA that signed the certificate."
        owner = "set MLFLOW_TRACKING_SERVER_CERT_PATH and REQUESTS_CA_BUNDLE to the CA's file"
        return Fault("tls-ca", said, what=what, why=why, owner=owner)
    if failure.has(r"ConnectionError|ConnectTimeout|ReadTimeout|MaxRetryError|NewConnectionError") or failure.says(
        "max retries exceeded"
    ):
        owner = "look at the address and at proxy settings"
        if scheme in ("http", "https"):
            owner = f"provision verify --tracking-uri {shown} looks closer, without the client"
        return Fault(
            "unreachable", said, what="The client does not reach the server.", why=_words(failure), owner=owner
        )
    if failure.check.startswith("artifact") and (fault := _artifacts(failure, said, python)):
        return fault
    if failure.check == "experiment":
        what = "There is no experiment to log to."
        owner = "name one that you may write to: --experiment NAME"
        if scheme == "databricks":
            owner = "name one in your workspace: --experiment /Users/YOU@EXAMPLE.COM/provision-verify"
        return Fault("experiment", said, what=what, why=_words(failure), owner=owner)
    if failure.has(r"^sqlalchemy\.|^alembic\.|sqlite3\."):
        what = "MLflow cannot use this database."
        return Fault(
            "database-down", said, what=what, why=_words(failure), owner="look at the path, the login and rights"
        )
    if failure.code in ("ENDPOINT_NOT_FOUND",) or failure.says(r"error code 404|not a valid JSON|<html"):
        what = "Clients cannot use this URL: MLflow does not answer there."
        owner = f"provision verify --tracking-uri {shown} looks closer, without the client"
        return Fault("not-mlflow", said, what=what, why=_words(failure), owner=owner)
    what = f"MLflow's client fails at: {failure.check}."
    if failure.check == "client":
        what = f"The MLflow in {python} does not take this address."
    return Fault("client-error", said, what=what, why=_words(failure))


def _setup(failure: Failure, scheme: str, said: str, python: str) -> Fault | None:
    """MLflow, or what it needs for this address, is not in that Python."""
    if failure.says(r"no module named '?mlflow'?$"):
        raise UsageError(
            f"There is no MLflow in {python}.",
            why=said + ".",
            next=f"{python} -m pip install mlflow, or another --client",
        )
    if failure.says("unsupported uri|supported schemes|could not find a registered"):
        what = f"The MLflow in {python} does not know addresses that begin with {scheme}."
        return Fault(
            "client-plugin",
            said,
            what=what,
            why="No plugin for them is installed there.",
            owner=_install(scheme, python),
        )
    if failure.has(r"^builtins\.(ModuleNotFoundError|ImportError)$"):
        return _lacking(scheme, said, python)
    return None


def _lacking(scheme: str, said: str, python: str) -> Fault:
    what = f"The MLflow in {python} lacks something that {scheme} needs."
    return Fault("client-plugin", said, what=what, why=said, owner=_install(scheme, python))


def _install(scheme: str, python: str) -> str:
    package = _PLUGINS.get(scheme)
    return f"{python} -m pip install '{package}'" if package else "install the plugin for it in that Python"


def _is_login(failure: Failure) -> bool:
    if failure.code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"):
        return True
    if failure.has("NoCredentials|CredentialUnavailable|ClientAuthentication|PartialCredentials|TokenRetrieval"):
        return True
    if failure.says("default credentials|credential configuration|AccessDenied"):
        return True
    return failure.says(r"error code 40[13]|\b40[13] (client error|unauthorized|forbidden)")


def _artifacts(failure: Failure, said: str, python: str) -> Fault | None:
    missing = re.search(r"No module named '([\w]+)", failure.text)
    what = "Runs and metrics work. This client neither stores nor loads files and models."
    if missing:
        package = _MODULES.get(missing[1], missing[1])
        why = f"The server tells clients to write to a store themselves, and {python} lacks {missing[1]} for it."
        return Fault("client-store", said, what=what, why=why, owner=f"{python} -m pip install {package}")
    if failure.has(r"^builtins\.(PermissionError|FileNotFoundError|NotADirectoryError|OSError)$"):
        why = "The server keeps artifacts in a folder of its own and tells clients to write there themselves."
        owner = "start the server with --artifacts-destination; experiments that exist keep the old place"
        return Fault("artifacts-local", said, what=what, why=f"{why} {said}", owner=owner)
    if failure.says("503") and failure.says("disabled"):
        why = "The server runs with --no-serve-artifacts."
        return Fault("artifacts-off", said, what=what, why=why, owner="start the server with --serve-artifacts")
    return None


def _words(failure: Failure) -> str:
    """MLflow's own words, not too many of them."""
    return clean(failure.text, 300)
