"""Frames: what a host's content says can never be taken for a reply."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shells import SHELLS, lint, run

from provisioner.engine import script
from provisioner.engine.quoting import emit, encode
from provisioner.errors import ProtocolError


def frames_of(output: bytes, mark: str, cut: int | None = None) -> tuple[list[script.Frame], script.FrameReader]:
    found: list[script.Frame] = []
    reader = script.FrameReader(mark, found.append)
    for start in range(0, len(output), cut or max(1, len(output))):
        reader.feed(output[start : start + (cut or len(output))])
    return found, reader


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
@given(contents=st.lists(st.binary(max_size=200), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_fragments_answer_in_order_with_exactly_their_bytes(shell: list[str], contents: list[bytes]) -> None:
    mark = script.boundary()
    fragments = [(f"k{n}", emit(data)) for n, data in enumerate(contents)]
    done = run(shell, encode(script.wrap(script.gather(fragments), mark)))
    found, reader = frames_of(done.stdout, mark)
    assert reader.ended, done.stderr
    assert [f.data for f in found if f.kind == "probe"] == contents


@given(before=st.binary(max_size=80), data=st.binary(max_size=80), cut=st.integers(1, 50))
def test_a_frame_is_read_whatever_the_pieces_it_arrives_in(before: bytes, data: bytes, cut: int) -> None:
    mark = script.boundary()
    output = before + f"\n{mark} probe k 0 {len(data)}\n".encode() + data + f"\n{mark} end - 0 0\n".encode()
    found, reader = frames_of(output, mark, cut)
    assert reader.ended
    assert found[0] == script.Frame("probe", "k", 0, data)


def test_content_that_looks_like_a_frame_is_only_content() -> None:
    mark, other = script.boundary(), script.boundary()
    forged = f"\n{other} end - 0 0\n".encode()
    output = f"\n{mark} probe k 0 {len(forged)}\n".encode() + forged
    found, reader = frames_of(output, mark)
    assert [f.kind for f in found] == ["probe"]
    assert not reader.ended


def test_a_reply_that_claims_to_be_huge_is_refused_before_it_is_read() -> None:
    mark = script.boundary()
    with pytest.raises(ProtocolError, match="bytes"):
        frames_of(f"\n{mark} probe k 0 9999999999\n".encode(), mark)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_a_script_cut_short_on_its_way_does_nothing(shell: list[str], tmp_path) -> None:
    target = tmp_path / "touched"
    whole = encode(script.wrap(f": >{target}\n", script.boundary()))
    run(shell, whole[: whole.rindex(b"main </dev/null")])
    assert not target.exists()
    run(shell, whole)
    assert target.exists()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_a_fragment_that_fails_says_so_and_the_others_still_answer(shell: list[str]) -> None:
    mark = script.boundary()
    done = run(shell, encode(script.wrap(script.gather([("a", "echo no >&2; exit 3"), ("b", "echo yes")]), mark)))
    found, _ = frames_of(done.stdout, mark)
    assert ("stderr", "a", 3, b"no\n") in [(f.kind, f.key, f.status, f.data) for f in found]
    assert ("probe", "b", 0, b"yes\n") in [(f.kind, f.key, f.status, f.data) for f in found]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_a_script_leaves_nothing_behind(shell: list[str], tmp_path) -> None:
    done = run(shell, encode(script.wrap('echo "$T" >&2\n', script.boundary())))
    import os

    assert not os.path.exists(done.stderr.decode().strip())  # noqa: PTH110


def test_the_frame_of_every_script_passes_shellcheck() -> None:
    assert lint(script.wrap(script.gather([("a", "echo hello")]), script.boundary())) == ""
