"""Progress from uv's own words; the text is a recorded first installation with uv 0.13.9."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.runtime.progress import Progress, advance

RECORDED = (Path(__file__).parent / "data/uv-install.txt").read_text().splitlines()


def after(lines: list[str]) -> Progress:
    now = Progress()
    for line in lines:
        now = advance(now, line)
    return now


def test_a_recorded_installation_ends_with_everything_downloaded_and_installed() -> None:
    end = after(RECORDED)
    assert (end.phase, end.packages, end.changed) == ("installed", 93, 93)
    assert end.done == end.total > 180_000_000


def test_progress_only_ever_grows() -> None:
    states = [after(RECORDED[:count]) for count in range(len(RECORDED))]
    assert [s.done for s in states] == sorted(s.done for s in states)
    assert all(s.done <= s.total for s in states)


def test_the_line_says_phase_packages_and_megabytes() -> None:
    middle = RECORDED.index(" Downloaded numpy")
    assert after(RECORDED[: middle + 1]).text.startswith("downloading, 93 packages, ")
    assert after(["Checked 119 packages in 5ms"]).text == "installed, 119 packages"


def test_the_fetch_of_a_wheel_has_bytes() -> None:
    assert after(["progress 1048576 17606939"]).text == "downloading, 1 of 17 MB"


@pytest.mark.parametrize(
    "line", ["", "progress 1", "progress x y", "Downloading a (9e9MiB)", "\x1b[2Jwarning", "x" * 10**5]
)
def test_other_lines_change_nothing(line: str) -> None:
    assert advance(Progress(), line) == Progress()
