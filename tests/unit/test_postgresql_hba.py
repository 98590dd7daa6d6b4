from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from provisioner.resources.postgresql import hba
from provisioner.resources.postgresql.hba import Access

ACCESS = Access("mlflow", "mlflow", ("127.0.0.1/32", "::1/128"))
WIDER = Access("mlflow", "mlflow", ("127.0.0.1/32", "::1/128", "10.151.0.0/24"))

DEBIAN = b"""\
# DO NOT DISABLE!
local   all             postgres                                peer

# TYPE  DATABASE        USER            ADDRESS                 METHOD

# "local" is for Unix domain socket connections only
local   all             all                                     peer
# IPv4 local connections:
host    all             all             127.0.0.1/32            scram-sha-256
# IPv6 local connections:
host    all             all             ::1/128                 scram-sha-256
local   replication     all                                     peer
host    replication     all             127.0.0.1/32            scram-sha-256
"""

REMOTE = Access("mlflow", "mlflow", ("127.0.0.1/32", "::1/128"), encrypted=("10.151.0.0/24",))

LINES = st.sampled_from(
    [
        b"local all all peer\n",
        b"host all all 0.0.0.0/0 md5\n",
        b'host "all" mlflow 127.0.0.1/32 trust\n',
        b"host mlflow mlflow 127.0.0.1 255.255.255.255 reject\n",
        b"host replication all all reject\n",
        b"hostssl app,mlflow +team samenet cert\n",
        b"include_if_exists more.conf\n",
        b"host all \\\n all all md5\n",
        b"# a comment \\\n",
        b"# provision: begin (older)\n",
        b"# provision: end\n",
        ACCESS.block,
        ACCESS.block.splitlines(keepends=True)[1],
        b"\n",
        b"host all all 10.0.0.0/8 md5",
        b'host "unclosed\n',
        b"host all all 127.0.0.1/32 md5 \\",
    ]
)
CONTENT = st.one_of(st.lists(LINES, max_size=12).map(b"".join), st.binary(max_size=200))


@given(CONTENT, st.sampled_from([ACCESS, WIDER, REMOTE]))
def test_applying_a_block_twice_is_applying_it_once(content: bytes, access: Access) -> None:
    once = hba.applied(content, access)
    assert hba.applied(once, access) == once
    assert once.count(access.block) >= 1


@given(CONTENT)
def test_foreign_lines_survive_byte_for_byte(content: bytes) -> None:
    before, after = hba.foreign(content), hba.foreign(hba.applied(content, ACCESS))
    assert before in (after, after.removesuffix(b"\n"))


@given(CONTENT)
def test_no_foreign_record_that_could_answer_stands_before_the_block(content: bytes) -> None:
    result = hba.applied(content, ACCESS)
    before = hba._items(result[: result.index(ACCESS.block)])
    assert hba._first_match(before, ACCESS) is None
    assert not (before and before[-1].open)


def test_the_block_stands_right_above_the_first_line_that_covers_it_and_its_comment() -> None:
    result = hba.applied(DEBIAN, ACCESS)
    assert result == DEBIAN.replace(b"# IPv4 local", ACCESS.block + b"# IPv4 local")


def test_a_changed_network_is_written_in_place() -> None:
    assert hba.applied(hba.applied(DEBIAN, ACCESS), WIDER) == hba.applied(DEBIAN, WIDER)


def test_a_block_that_another_line_shadows_moves_before_it_and_says_so() -> None:
    shadowed = b"host all all 0.0.0.0/0 reject\n" + hba.applied(DEBIAN, ACCESS)
    assert hba.reason(shadowed, ACCESS) == "another line answers first: host all all 0.0.0.0/0 reject"
    assert hba.applied(shadowed, ACCESS).startswith(ACCESS.block)


def test_a_line_of_another_database_or_network_is_no_shadow() -> None:
    content = b"host app app 127.0.0.1/32 md5\nhost all all 192.168.0.0/16 md5\nhostssl all other ::1/128 md5\n"
    standing = content + ACCESS.block
    assert hba.applied(standing, ACCESS) == standing


def test_sameuser_covers_the_role_whose_name_is_the_databases() -> None:
    line = b"host sameuser all 127.0.0.1/32 reject\n"
    assert hba.applied(line, ACCESS).startswith(ACCESS.block)
    assert hba.applied(line, Access("mlflow", "tracker", ("127.0.0.1/32",))).startswith(line)


def test_lines_typed_into_the_block_go_and_a_lost_end_mark_swallows_nothing() -> None:
    good = hba.applied(DEBIAN, ACCESS)
    edited = good.replace(hba.END.encode(), b"host all all all trust\n" + hba.END.encode())
    assert hba.applied(edited, ACCESS) == good
    assert hba.reason(edited, ACCESS) == "a line in its block is not wanted: host all all all trust"
    cut = good.replace(hba.END.encode() + b"\n", b"")
    assert hba.foreign(hba.applied(cut, ACCESS)).endswith(DEBIAN[-200:])


def test_lines_of_an_earlier_release_for_other_hosts_become_those_for_tls() -> None:
    before = hba.applied(DEBIAN, WIDER)
    assert hba.plain(before)
    after = hba.applied(before, REMOTE)
    assert not hba.plain(after)
    assert hba.networks(after) == hba.networks(before) == list(REMOTE.everywhere)
    assert hba.foreign(after) == DEBIAN
    assert b"hostssl mlflow          mlflow          10.151.0.0/24           scram-sha-256\n" in after
    # Somebody's own line would answer first, with another kind of password.
    own = b"host all all 10.0.0.0/8 md5\n"
    assert hba.applied(own, REMOTE).endswith(own)
