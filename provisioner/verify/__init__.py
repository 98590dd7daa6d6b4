"""End-to-end verification of an MLflow tracking platform, exactly as a client would use it."""

from provisioner.verify.behind import postgresql
from provisioner.verify.quick import Quick, quick
from provisioner.verify.run import Outcome, verify
from provisioner.verify.s3 import StoreAccess
from provisioner.verify.target import Connect, Target, target_from

__all__ = [
    "Connect",
    "Outcome",
    "Quick",
    "StoreAccess",
    "Target",
    "postgresql",
    "quick",
    "target_from",
    "verify",
]
