from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import ProvisionError
from provisioner.lab import mounts

MOUNTINFO = (
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    r"90 22 0:40 / /lab/hosts/a\040b/root rw - overlay provision-lab rw" + "\n"
    "91 90 0:41 / /lab/hosts/web/root rw - overlay provision-lab rw,lowerdir=/x\n"
    "92 91 0:42 / /lab/hosts/web/root/proc rw - proc proc rw\n"
    "93 22 0:43 / /lab/hosts/web2/root rw - overlay provision-lab rw\n"
)


def test_mount_points_are_read_with_their_blanks() -> None:
    assert mounts.parse_mountinfo(MOUNTINFO)[1] == "/lab/hosts/a b/root"


def test_what_is_mounted_deepest_is_named_first_and_a_longer_name_is_not_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: MOUNTINFO)
    assert mounts.at_or_below(Path("/lab/hosts/web")) == ["/lab/hosts/web/root/proc", "/lab/hosts/web/root"]


def test_layers_are_stacked_from_the_topmost_down() -> None:
    options = mounts.overlay_options([Path("/l/2"), Path("/l/1"), Path("/image")], Path("/u"), Path("/w"))
    assert options.startswith("lowerdir=/l/2:/l/1:/image,upperdir=/u,workdir=/w,redirect_dir=on")


@pytest.mark.parametrize("path", ["/a:b", "/a,upperdir=/etc", "/a\\b"])
def test_a_path_that_could_smuggle_a_mount_option_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="overlay options"):
        mounts.overlay_options([Path(path)], Path("/u"), Path("/w"))


def test_a_tree_with_a_mount_below_is_never_deleted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    monkeypatch.setattr(mounts, "at_or_below", lambda path: [str(path / "root")])
    with pytest.raises(ProvisionError, match="not deleting"):
        mounts.remove_tree(tmp_path)
    assert (tmp_path / "root").is_dir()
