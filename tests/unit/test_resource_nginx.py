"""What an nginx was built with."""

from __future__ import annotations

import pytest

from provisioner.resources.nginx import NginxBuild, NginxBuildProbe

FULL = b"nginx version: nginx/1.22.1\nconfigure arguments: --with-http_v2_module --with-http_auth_request_module\n"
SMALL = b"nginx version: nginx/1.22.1\nconfigure arguments: --with-http_v2_module\n"


@pytest.mark.parametrize(
    ("output", "has"), [(FULL, True), (SMALL, False), (b"", True), (b"cannot execute\n", True), (b"\xff --x", False)]
)
def test_the_module_is_missed_only_where_the_program_says_so(output: bytes, has: bool) -> None:
    assert list(NginxBuildProbe.parse([NginxBuildProbe()], output)) == [NginxBuild(has)]
