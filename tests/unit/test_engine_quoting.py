"""Quoting survives arbitrary bytes in every shell that a host may have."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shells import SHELLS, run

from provisioner.engine.quoting import emit, encode, printable, word, words

COUNT = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
@given(data=st.binary(max_size=300))
@COUNT
def test_emit_writes_exactly_the_bytes(shell: list[str], data: bytes) -> None:
    script = encode(f"LC_ALL=C; export LC_ALL\n{emit(data)}\n")
    assert run(shell, script).stdout == data


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_emit_writes_every_single_byte_value(shell: list[str]) -> None:
    data = bytes(range(1, 256)) * 3
    assert run(shell, encode(f"LC_ALL=C; export LC_ALL\n{emit(data)}\n")).stdout == data


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
@given(texts=st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",))), max_size=4))
@COUNT
def test_words_stay_apart_and_whole(shell: list[str], texts: list[str]) -> None:
    script = encode(
        f'LC_ALL=C; export LC_ALL\nset -- {words(*texts)}\nfor w in "$@"; do printf \'%s\\n--\\n\' "$w"; done\n'
    )
    assert run(shell, script).stdout == b"".join(t.encode() + b"\n--\n" for t in texts)


def test_a_word_cannot_hold_a_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        word("a\0b")


@given(st.text())
def test_printable_leaves_no_terminal_escape(text: str) -> None:
    assert "\x1b" not in printable(text)
    assert "\r" not in printable(text)
