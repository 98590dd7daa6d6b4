"""After an install, a run that failed, a repair, values from the operator's sources and a rotation of everything: no
secret of any generation is where it does not belong. That the search finds what is there, a planted one shows.

The command lines of an install itself are watched by test_hostile.py.
"""

from __future__ import annotations

import base64
import json
import secrets as random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from . import leaks
from .conftest import Ran, Stack

MLFLOW_ENV = "/etc/mlflow/mlflow.env"
SITE = "/etc/nginx/conf.d/provision-mlflow.conf"
UNTIL_SEEN = f"""
import os, time
for _ in range(400):
    if "PLANTED=" + os.environ["PLANTED"] in open("{leaks.SEEN}", errors="replace").read():
        raise SystemExit(0)
    time.sleep(0.05)
raise SystemExit(1)
"""
IN_THE_WAY = "/etc/nginx/conf.d/zz.conf"


@dataclass
class Story:
    """What was done to a stack, and everything that was said."""

    stack: Stack
    said: list[Ran] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    """Values that came from the operator's sources."""
    sourced: Ran | None = None

    def run(self, name: str, *arguments: str, **options: str) -> Ran:
        # Not `stack.run`, which takes a traceback for a fault: -vv shows one of every failure.
        process = self.stack.operator.start(*arguments, *self.stack.reach(), **options)
        out, err = process.communicate(timeout=600)
        ran = Ran(process.returncode, out, err)
        self.said.append(ran)
        self.codes[name] = ran.code
        return ran

    def secrets(self) -> dict[str, str]:
        return leaks.every_secret(self.stack.operator.state, self.stack.host)

    def finds(self, **more: str) -> list[str]:
        stack = self.stack
        return leaks.finds(stack.host, stack.operator.state, self.said, more or self.secrets())


@pytest.fixture(scope="module")
def story(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Story:
    told = Story(stack, [stack.planned, stack.first])
    leaks.watch(stack.host)

    # Secrets are edited as well: what is shown of them differs from what is there.
    stack.on(f"sed -i '/auth_basic/d' {SITE}; sed -i 's/^\\(MLFLOW_[A-Z_]*PASSPHRASE=\\)./\\1x/' {MLFLOW_ENV}")
    stack.on(f"echo 'no such thing;' >{IN_THE_WAY}")
    told.run("plan", "plan", "--diff", "-vv")
    told.run("failed", "-vv")
    told.run("failed again", "--json")
    stack.on(f"rm {IN_THE_WAY}")
    told.run("repair", "-vv")

    told.chosen = {
        "database.password": "db/" + random.token_urlsafe(24),
        "login": "login+" + random.token_urlsafe(24),
        "store.root.password": "root " + random.token_hex(12),
    }
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "login").write_text(told.chosen["login"] + "\n")
    (folder / "login").chmod(0o600)
    (folder / "vault.py").write_text(f"print({told.chosen['store.root.password']!r})\n")
    inventory = folder / "prod.toml"
    inventory.write_text(
        "[secrets]\n"
        '"database.password" = { env = "CHOSEN_PASSWORD" }\n'
        'login = { file = "login" }\n'
        f'"store.root.password" = {{ command = {json.dumps([sys.executable, "vault.py"])} }}\n'
    )
    inventory.chmod(0o600)
    named = ("--inventory", str(inventory))
    told.run("plan of sources", "plan", *named, CHOSEN_PASSWORD=told.chosen["database.password"])
    told.sourced = told.run("sources", *named, "--json", CHOSEN_PASSWORD=told.chosen["database.password"])
    told.run("sources again", *named, "-vv", CHOSEN_PASSWORD=told.chosen["database.password"])
    told.run("refused", "secrets", "rotate", "login", *named)

    told.run("rotate", "secrets", "rotate", "all", "-vv")
    told.run("status", "status", "--json")
    told.run("list", "secrets", "list", "--json")
    told.run("verify", "verify", "-vv")
    return told


def test_everything_that_was_meant_to_happen_happened(story: Story) -> None:
    good = dict.fromkeys(
        ("plan", "repair", "plan of sources", "sources", "sources again", "rotate", "status", "list", "verify"), 0
    )
    wanted = {**good, "failed": 1, "failed again": 1, "refused": 64}
    assert story.codes == wanted, [(ran.code, ran.out[-800:], ran.err[-800:]) for ran in story.said]


def test_values_of_the_operator_s_sources_arrive_on_both_sides_and_are_verified(story: Story) -> None:
    assert story.sourced is not None
    # What hangs together is taken in one turn, each with its own writing of the file.
    turns = [c["reason"] for c in story.sourced.host["changes"] if c["resource"] == "file:secrets.json"]
    assert ["database.password comes from env CHOSEN_PASSWORD" in turn for turn in turns].count(True) == 1, turns
    assert story.sourced.host["verification"] == "full"
    values = story.secrets().values()
    assert set(story.chosen.values()) <= set(values), "the host kept them before they were rotated"


def test_no_secret_is_where_it_does_not_belong(story: Story) -> None:
    secrets = story.secrets()
    names = {name.split()[0] for name in secrets}
    assert names >= {"database.password", "login", "mlflow.flask-key", "mlflow.kek", "store.root.password"}
    for name in names:
        assert len([each for each in secrets if each.split()[0] == name]) >= 2, f"an earlier {name} is looked for too"
    assert story.finds() == []


def test_the_search_finds_what_is_planted(story: Story) -> None:
    host, state = story.stack.host, story.stack.operator.state
    value = random.token_hex(12) + "/&="
    assert story.finds(planted=value) == []
    placed = {
        "/var/tmp/planted": (quote(value, safe=""), "600"),
        "/dev/shm/planted": (value, "600"),
        "/tmp/planted": (json.dumps({"value": value}), "600"),
        "/run/planted": (value, "644"),
        "/root/.bash_history": (f"export X='{value}'", "600"),
        "/var/log/nginx/planted.log": ("Basic " + base64.b64encode(f"mlflow:{value}".encode()).decode(), "640"),
        "/var/log/postgresql/planted.log": (f"ALTER ROLE mlflow PASSWORD '{value}'", "600"),
        "/etc/planted": (value, "644"),
        "/opt/planted": (f"a line\n\0binary\n{value}\n", "644"),
        "/usr/local/planted": (value, "644"),
        "/var/lib/planted": (value, "644"),
    }
    for path, (text, mode) in placed.items():
        host.check(f"cat >>{path}; chmod {mode} {path}", stdin=text + "\n")
    host.check("umask 077; cat >/etc/planted-and-closed", stdin=value)
    host.check("logger -t planted", stdin=value)
    host.check(
        "journalctl --sync; i=0; until journalctl -t planted -q -o cat | grep -q .; do "
        "i=$((i+1)); [ $i -lt 200 ] || exit 1; sleep 0.05; done"
    )
    # Each stays until the watcher has seen it: in a command line, and in an environment of the watcher's own user.
    host.check(
        'read -r X; exec sh -c \'i=0; until grep -qsF "$1" '
        f'{leaks.SEEN}; do i=$((i+1)); [ $i -lt 400 ] || exit 1; sleep 0.05; done\' sh "$X"',
        stdin=value + "\n",
    )
    host.check(
        f"read -r PLANTED; export PLANTED; exec runuser -u {leaks.SNOOP} -- python3 -c '{UNTIL_SEEN}'",
        stdin=random.token_hex(12) + "\n",
    )
    (state / "planted").write_text(value)
    story.said.append(Ran(0, "", f"Traceback: {value}"))
    try:
        expected = [*placed, "journal", leaks.SEEN, "the operator's files", "the operator's terminal"]
        assert story.finds(planted=value) == sorted(expected)
    finally:
        story.said.pop()
        (state / "planted").unlink()


@pytest.mark.parametrize("value", ["short-one", "a'b\"c\\d%20%s @:/?#[]  ü $HOME", "x" * 40])
def test_every_spelling_is_known_wherever_a_text_holds_it(value: str) -> None:
    for before in ("", "a", "ab", "mlflow:"):
        for after in ("", "z", "zz"):
            text = before + value + after
            spelled = [text, json.dumps(text), quote(text, safe=""), base64.b64encode(text.encode()).decode()]
            for each in spelled:
                assert any(form in each for form in leaks.spellings(value)), (each, before, after)


def test_the_file_that_holds_the_values_here_is_closed(story: Story) -> None:
    for path in (story.stack.operator.state / "provision").rglob("secrets.json"):
        assert isinstance(path, Path)
        assert path.stat().st_mode & 0o077 == 0
