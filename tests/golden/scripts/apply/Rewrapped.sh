# run keys:mlflow: wrapped with version 2 of the passphrase, wanted 1
undo_unit mlflow-server.service /etc/mlflow/mlflow.env
systemctl stop mlflow-server.service
printf %s 'from __future__ import annotations
"""Moves what MLflow keeps encrypted in its database from one key-encryption passphrase to another.

`mlflow crypto rotate-kek` takes the new passphrase on its command line, where every user of the host could
read it, and goes one version up only: this does the same (mlflow/cli/crypto.py of 3.17.2) with both passphrases
on stdin, and back again. CHANGE, put in front, is ((passphrase, version), (passphrase, version)): from, to.
The database'\''s address is MLFLOW_BACKEND_STORE_URI or, when that is refused, DATABASE: the role'\''s password may
be changed by the same run. One transaction; rows of other versions stay.

stdout: `rewrapped N`. stderr, when it fails: one line each of `what`, `why` and `next`. Exit codes: 0, 33.
"""


import importlib
import logging
import os
import sys
import warnings
from typing import Any

CHANGE: tuple[tuple[str, int], tuple[str, int]] = (('\''an-earlier-passphrase'\'', 2), ('\''fake-kek-passphrase-0000000000000000000000000000'\'', 1))
DATABASE = '\''postgresql+psycopg2://mlflow:fake-database-password@127.0.0.1:5432/mlflow'\''


def _engine(create: Any) -> Any:
    engine = create(os.environ["MLFLOW_BACKEND_STORE_URI"])
    try:
        engine.connect().close()
    except Exception:
        engine = create(DATABASE)
    return engine


def main() -> int:
    """See the module'\''s docstring."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    crypto: Any = importlib.import_module("mlflow.utils.crypto")
    models: Any = importlib.import_module("mlflow.store.tracking.dbmodels.models")
    orm: Any = importlib.import_module("sqlalchemy.orm")
    utils: Any = importlib.import_module("mlflow.store.db.utils")
    before, wanted = (crypto.KEKManager(passphrase=text, kek_version=version) for text, version in CHANGE)
    secret: Any = models.SqlGatewaySecret
    try:
        with orm.Session(_engine(utils.create_sqlalchemy_engine)) as session:
            rows = session.query(secret).filter(secret.kek_version == CHANGE[0][1]).with_for_update().all()
            for row in rows:
                row.wrapped_dek = crypto.rotate_secret_encryption(
                    row.encrypted_value, row.wrapped_dek, before, wanted
                ).wrapped_dek
                row.kek_version = CHANGE[1][1]
            session.commit()
    except Exception as error:
        reason = str(getattr(error, "orig", error)).strip().partition("\n")[0][:300] or type(error).__name__
        print(
            f"what the keys that MLflow keeps could not be moved to the new passphrase\nwhy {reason}\n"
            "next nothing was changed; look at MLflow'\''s gateway secrets, then run the same command again",
            file=sys.stderr,
        )
        return 33
    print(f"rewrapped {len(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
' | systemd-run --quiet --wait --pipe --collect --unit=provision-rewrap-keys -p User=mlflow -p EnvironmentFile=/etc/mlflow/mlflow.env -p RuntimeMaxSec=300 -p PrivateTmp=yes -p NoNewPrivileges=yes -p ProtectSystem=strict -p ProtectHome=yes -p WorkingDirectory=/ -- /opt/mlflow/3.17.2/bin/python -I -
printf %s 'printf %s '\''from __future__ import annotations
"""Moves what MLflow keeps encrypted in its database from one key-encryption passphrase to another.

`mlflow crypto rotate-kek` takes the new passphrase on its command line, where every user of the host could
read it, and goes one version up only: this does the same (mlflow/cli/crypto.py of 3.17.2) with both passphrases
on stdin, and back again. CHANGE, put in front, is ((passphrase, version), (passphrase, version)): from, to.
The database'\''\'\'''\''s address is MLFLOW_BACKEND_STORE_URI or, when that is refused, DATABASE: the role'\''\'\'''\''s password may
be changed by the same run. One transaction; rows of other versions stay.

stdout: `rewrapped N`. stderr, when it fails: one line each of `what`, `why` and `next`. Exit codes: 0, 33.
"""


import importlib
import logging
import os
import sys
import warnings
from typing import Any

CHANGE: tuple[tuple[str, int], tuple[str, int]] = (('\''\'\'''\''fake-kek-passphrase-0000000000000000000000000000'\''\'\'''\'', 1), ('\''\'\'''\''an-earlier-passphrase'\''\'\'''\'', 2))
DATABASE = '\''\'\'''\''postgresql+psycopg2://mlflow:fake-database-password@127.0.0.1:5432/mlflow'\''\'\'''\''


def _engine(create: Any) -> Any:
    engine = create(os.environ["MLFLOW_BACKEND_STORE_URI"])
    try:
        engine.connect().close()
    except Exception:
        engine = create(DATABASE)
    return engine


def main() -> int:
    """See the module'\''\'\'''\''s docstring."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    crypto: Any = importlib.import_module("mlflow.utils.crypto")
    models: Any = importlib.import_module("mlflow.store.tracking.dbmodels.models")
    orm: Any = importlib.import_module("sqlalchemy.orm")
    utils: Any = importlib.import_module("mlflow.store.db.utils")
    before, wanted = (crypto.KEKManager(passphrase=text, kek_version=version) for text, version in CHANGE)
    secret: Any = models.SqlGatewaySecret
    try:
        with orm.Session(_engine(utils.create_sqlalchemy_engine)) as session:
            rows = session.query(secret).filter(secret.kek_version == CHANGE[0][1]).with_for_update().all()
            for row in rows:
                row.wrapped_dek = crypto.rotate_secret_encryption(
                    row.encrypted_value, row.wrapped_dek, before, wanted
                ).wrapped_dek
                row.kek_version = CHANGE[1][1]
            session.commit()
    except Exception as error:
        reason = str(getattr(error, "orig", error)).strip().partition("\n")[0][:300] or type(error).__name__
        print(
            f"what the keys that MLflow keeps could not be moved to the new passphrase\nwhy {reason}\n"
            "next nothing was changed; look at MLflow'\''\'\'''\''s gateway secrets, then run the same command again",
            file=sys.stderr,
        )
        return 33
    print(f"rewrapped {len(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
'\'' | systemd-run --quiet --wait --pipe --collect --unit=provision-rewrap-keys -p User=mlflow -p EnvironmentFile=/etc/mlflow/mlflow.env -p RuntimeMaxSec=300 -p PrivateTmp=yes -p NoNewPrivileges=yes -p ProtectSystem=strict -p ProtectHome=yes -p WorkingDirectory=/ -- /opt/mlflow/3.17.2/bin/python -I -
' | revert
