"""What is checked before anything changes, all at once."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.commands import preflight
from provisioner.door import Door, decide
from provisioner.engine.check import Check
from provisioner.errors import Refused
from provisioner.resources.facts import Facts
from provisioner.topology import Here


def view(
    *,
    unnamed: Refused | None = None,
    name: str = "10.151.0.1",
    facts: Facts | None = None,
    scheme: str = "http",
    **access: Any,
) -> Any:
    step = SimpleNamespace(preflight=lambda context: [Check("port", "port 5000", "fail", detail="taken")])
    return SimpleNamespace(
        facts=facts or Facts(systemd=252, now=time.time()),
        context=SimpleNamespace(here=Here(), door=Door(scheme, name, 5000, (name,))),
        settings=SimpleNamespace(access=SimpleNamespace(**{"public_http": False, "auth": "password", **access})),
        unnamed=unnamed,
        steps=(step,),
    )


def test_an_unknown_address_is_one_of_the_failed_checks_and_names_the_setting() -> None:
    with pytest.raises(Refused) as unknown:
        decide(scheme="http", port=5000, names=(), target="h", address="127.0.0.1", addresses=("10.0.0.1",))
    found = {check.id: check for check in preflight.seen(view(unnamed=unknown.value))}
    assert {name for name, check in found.items() if check.status == "fail"} == {"address", "port"}
    assert "loopback" in found["address"].detail
    assert "access.names" in (found["address"].fix or "")
    with pytest.raises(Refused) as refused:
        preflight.refuse(list(found.values()), "--host h")
    assert "2 of" in refused.value.what


def test_a_connection_that_may_not_forward_is_warned_of_and_no_more() -> None:
    for allowed, status in ((True, "ok"), (False, "warn")):
        session: Any = SimpleNamespace(forwards=lambda port, allowed=allowed: allowed)
        assert preflight._forwarding(session).status == status


def address(**chosen: Any) -> Check:
    (check,) = (check for check in preflight.seen(view(**chosen)) if check.id == "address")
    return check


def test_a_public_address_is_refused_and_a_private_one_is_not() -> None:
    for name, status in (("8.8.8.8", "fail"), ("2606:4700::1", "fail"), ("10.0.0.1", "ok"), ("ml.example.org", "ok")):
        assert address(name=name).status == status
    assert address(name="8.8.8.8", public_http=True).status == "ok"
    assert address(name="8.8.8.8", scheme="https").status == "ok"


def test_a_dns_name_counts_as_public_where_the_host_has_a_public_address() -> None:
    facts = Facts(systemd=252, now=time.time(), addresses=("127.0.0.1", "10.0.0.1", "8.8.8.8"))
    found = address(name="ml.example.org", facts=facts)
    assert found.status == "fail"
    assert "8.8.8.8" in found.detail
    assert address(name="10.0.0.1", facts=facts).status == "ok", "nginx answers there alone"


@pytest.mark.parametrize("chosen", [{}, {"public_http": True}, {"scheme": "https"}])
def test_nobody_goes_without_a_login_on_a_public_address_whatever_else_is_said(chosen: dict[str, Any]) -> None:
    found = address(name="8.8.8.8", auth="none", **chosen)
    assert found.status == "fail"
    assert "access.auth=password" in (found.fix or "")
    assert address(name="10.0.0.1", auth="none", **chosen).status == "ok"
