"""A distribution's example site: off while it is as it came, left alone once somebody edited it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import shells
from hypothesis import given
from hypothesis import strategies as st

from provisioner.engine.probe import Seen
from provisioner.engine.resource import UNKNOWN
from provisioner.resources.conffile import ExampleOff, ExampleProbe, ExampleState
from provisioner.resources.package import PackageProbe, PackageState

OFF = ExampleOff(id="example:x", link="/e/on", example="/e/default", package="x-common", brought_by="x")
PACKAGE = PackageProbe("x")
PACKAGES = st.sampled_from([PackageState(False), PackageState(True, "1"), PackageState(True, UNKNOWN, ours=True)])


@given(st.builds(ExampleState, st.booleans(), st.booleans(), st.booleans()), PACKAGES)
def test_after_the_change_nothing_is_left_to_do(state: ExampleState, package: PackageState) -> None:
    seen = Seen({OFF.probe: state, PACKAGE: package})
    assert OFF.diff(OFF.after(seen)) is None


def test_a_plan_that_installs_the_package_takes_its_example_away() -> None:
    installing = PackageState(True, UNKNOWN, ours=True)
    assert OFF.diff(Seen({OFF.probe: ExampleState(), PACKAGE: installing})) is not None


def test_an_edited_example_stays_on() -> None:
    assert OFF.diff(Seen({OFF.probe: ExampleState(True, edited=True), PACKAGE: PackageState(True, "1")})) is None


@pytest.mark.parametrize("shell", shells.SHELLS, ids=" ".join)
@pytest.mark.parametrize("content", [b"as it came\n", b"edited\n", None])
def test_the_package_says_whether_it_was_edited(shell: list[str], content: bytes | None, tmp_path: Path) -> None:
    example, link, programs = tmp_path / "default", tmp_path / "on", tmp_path / "bin"
    programs.mkdir()
    digest = hashlib.md5(b"as it came\n", usedforsecurity=False).hexdigest()
    fake = programs / "dpkg-query"
    fake.write_text(f"#!/bin/sh\necho ' {tmp_path}/other 00'\necho ' {example} {digest}'\n")
    fake.chmod(0o755)
    if content is not None:
        example.write_bytes(content)
        link.symlink_to(example)
    probe = ExampleProbe(str(link), str(example), "x-common")
    text = ExampleProbe.fragment([probe])
    assert shells.lint(text) == ""
    done = shells.run(shell, f"PATH={programs}:{os.environ['PATH']}\nset -eu\n{text}".encode())
    assert done.returncode == 0, done.stderr
    (state,) = ExampleProbe.parse([probe], done.stdout)
    assert state == ExampleState(content is not None, content == b"edited\n")
