"""One JSON document on stdout; a line of progress on stderr for each step."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from provisioner.report.model import HostResult, document
from provisioner.report.plain import Plain


class Json(Plain):
    """Progress as `Plain`, the result as the versioned document of report/model.py."""

    def finished(self, command: str, results: Sequence[HostResult], seconds: float) -> None:
        json.dump(document(command, results, seconds), sys.stdout, indent=1)
        sys.stdout.write("\n")
        sys.stdout.flush()
