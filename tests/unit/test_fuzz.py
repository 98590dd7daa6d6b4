"""What hosts, files and people send, made at random: every reader takes it or refuses it in its own words.

Bounded: a few hundred examples each, seconds in all. Readers are found, not listed: a new kind of look is fuzzed
from its first day.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import typing
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import provisioner
from provisioner import inventory, record, vault
from provisioner.engine.probe import Probe, read
from provisioner.engine.script import FRAME_LIMIT, Frame, FrameReader
from provisioner.errors import ProtocolError, ProvisionError
from provisioner.resources.postgresql import conf
from provisioner.secrets import Secret
from provisioner.transport.exchange import Stderr
from provisioner.transport.target import parse_target

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
MARK = "ab" * 16

WORDS = (
    *rb"""\t| |/|:|=|-|0|1|-1|99999999999999999999|../|/etc/passwd|$(id)|f|d|l|root|mlflow|active|running|[]|{}|{"a": |
    |free=|os=|uid=|memory=|LISTEN 0 1 |1e999|nan|0x10|'|"|%|*""".split(b"|"),
    *(b"\n", b"\0", b"|", b"\xff\xfe", b"\x1b[2J", b"\r", "\u202e".encode(), "\u0663".encode()),
)
"""What readers split at, count with or compare to."""

noise = st.one_of(
    st.binary(max_size=400),
    st.lists(st.sampled_from(WORDS), max_size=60).map(b"".join),
    st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=8)), max_size=60).map(b"".join),
)


def refusal(call: Callable[[], object]) -> ProvisionError | None:
    """The error in this tool's own words, short; every other one is a fault and passes through."""
    try:
        call()
    except ProvisionError as error:
        assert len(error.what + error.why + error.next) < 4000  # noqa: PT017
        return error
    return None


def printable(error: ProvisionError | None) -> bool:
    return error is None or all(c.isprintable() or c == "\n" for c in error.what + error.why + error.next)


def kinds() -> list[type[Probe[Any]]]:
    for found in pkgutil.walk_packages(provisioner.__path__, "provisioner."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    todo, known = [Probe], []
    while todo:
        for kind in todo.pop().__subclasses__():
            todo.append(kind)
            if not getattr(kind, "__abstractmethods__", None) and kind.__module__.startswith("provisioner."):
                known.append(kind)
    return sorted(set(known), key=lambda kind: (kind.__module__, kind.__name__))


KINDS = kinds()
NAMES = {"unit": "x.service", "name": "x"}
VALUES: dict[str, Any] = {
    "str": "/etc/hosts",
    "int": 1,
    "bool": True,
    "bytes": b"x",
    "float": 1.0,
    "Secret": Secret("fuzzed-secret"),
}


def example(kind: type[Any]) -> Any:
    """One probe of the kind, from the names of its fields' types."""
    given_fields = {}
    for field in dataclasses.fields(kind):
        name, told = field.name, str(field.type).split("|")[0].strip()
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING:
            continue
        if name in NAMES:
            given_fields[name] = NAMES[name]
        elif told in VALUES:
            given_fields[name] = VALUES[told]
        elif told.startswith("tuple"):
            given_fields[name] = ()
        elif told.startswith(("Mapping", "dict")):
            given_fields[name] = {}
        else:
            known = typing.get_type_hints(kind)[name]
            given_fields[name] = example(known)
    return kind(**given_fields)


def test_there_are_readers_to_try() -> None:
    assert len(KINDS) > 15


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_host_may_answer_a_look_with_anything(kind: type[Probe[Any]]) -> None:
    probe = example(kind)

    @FEW
    @given(noise, st.sampled_from([0, 0, 0, 1, 127, 255]))
    def answered(data: bytes, status: int) -> None:
        refused = refusal(lambda: read({kind: [probe]}, [Frame("probe", kind.kind, status, data)])[probe])
        assert refused is None or isinstance(refused, ProtocolError)

    answered()


@FEW
@given(st.lists(st.one_of(noise, st.sampled_from([
    b"\n" + MARK.encode() + b" probe facts 0 5\n", b"\n" + MARK.encode() + b" end - 0 0\n",
    b"\n" + MARK.encode() + b" probe x 0 9999999999\n", b"\n" + MARK.encode() + b" probe x 999 0\n",
    b"\n" + MARK.encode() + b" say - 0 3\nhi!", b"\n" + MARK.encode() + b" probe ../x 0 1\n",
])), max_size=30))  # fmt: skip
def test_frames_made_by_the_host_itself_are_bounded(pieces: list[bytes]) -> None:
    frames: list[Frame] = []
    reader = FrameReader(MARK, frames.append)
    try:
        for piece in pieces:
            reader.feed(piece)
            assert len(reader._buffer) < FRAME_LIMIT
    except ProtocolError:
        pass
    assert sum(len(frame.data) for frame in frames) <= sum(map(len, pieces))
    assert reader.ended == any(frame.kind == "end" for frame in frames)


@FEW
@given(st.lists(noise, max_size=20))
def test_what_is_said_on_stderr_stays_short(pieces: list[bytes]) -> None:
    said = Stderr()
    for piece in pieces * 50:
        said.feed(piece)
    assert len(said.tail) <= 64 * 2**10
    assert said.length == 50 * sum(map(len, pieces))


PIECES = (
    '[roles] [store] [hosts."x"] [access] [[access.users]] engine= \'minio\' " port = 1e999 true [ ] { } # '
    "store.bucket='x' names=[' ', a.b.c=1 \x1b \0 1979-05-27 schema=1 [settings] \\u202e ''' . inf 0o7 -oProxyCommand=x"
)
TOML = st.lists(st.sampled_from([*PIECES.split(" "), "\n", " "]), max_size=40).map("".join)


@FEW
@given(TOML)
def test_any_record_on_a_host_is_read_or_refused(text: str) -> None:
    assert printable(refusal(lambda: record.parse_recorded(text.encode("utf-8", "replace"), "host")))


@FEW
@given(text=TOML)
def test_any_inventory_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    refused = refusal(lambda: inventory.load(path, (), ("root@192.0.2.1",)))
    assert printable(refused)
    assert refused is None or int(refused.exit) in {4, 64}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["schema", "stack", "secrets", "value", "generation", "login", "store.root.user", "x"]),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)


@FEW
@given(JSON)
def test_any_secrets_document_is_read_or_refused_unseen(document: Any) -> None:
    assert printable(refusal(lambda: vault.parse(json.dumps(document), "somewhere")))


@FEW
@given(noise)
def test_any_configuration_file_of_postgresql_is_read(data: bytes) -> None:
    assert isinstance(conf.parsed(data), dict)


@FEW
@given(st.text(max_size=80))
def test_any_name_of_a_host_is_taken_or_refused(text: str) -> None:
    refused = refusal(lambda: parse_target(text))
    if refused is not None:
        assert int(refused.exit) == 64
        return
    target = parse_target(text)
    for part in (target.name, target.user or ""):
        assert not part.startswith("-")
        assert not set(part) & set(" \t\n;|&$`<>(){}'\"\\")
