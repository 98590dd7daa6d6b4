"""A reader of systemd's EnvironmentFile grammar, for tests: parse_env_file_internal of
systemd's src/basic/env-file.c (the same from 247 to 257), state by state."""

from __future__ import annotations

_NEWLINE = "\n\r"
_BLANK = " \t\n\r"
_SHELL_NEED_ESCAPE = '"\\`$'


def read_env_file(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    state, name, value, comment_escape = "pre_key", "", "", False
    chomp: int | None = None

    def end() -> None:
        nonlocal state, name, value, chomp
        state = "pre_key"
        found[name.rstrip(_BLANK)] = value[:chomp] if chomp is not None else value
        name, value, chomp = "", "", None

    for c in text:
        if state == "pre_key":
            if c in "#;":
                state = "comment"
            elif c not in _BLANK:
                state, name = "key", c
        elif state == "key":
            if c in _NEWLINE:
                state, name = "pre_key", ""
            elif c == "=":
                state = "pre_value"
            else:
                name += c
        elif state == "pre_value":
            if c in _NEWLINE:
                end()
            elif c == "'":
                state = "single"
            elif c == '"':
                state = "double"
            elif c == "\\":
                state = "value_escape"
            elif c not in _BLANK:
                state, value = "value", value + c
        elif state == "value":
            if c in _NEWLINE:
                end()
            elif c == "\\":
                state, chomp = "value_escape", None
            else:
                if c not in _BLANK:
                    chomp = None
                elif chomp is None:
                    chomp = len(value)
                value += c
        elif state == "value_escape":
            state = "value"
            if c not in _NEWLINE:
                value += c
        elif state == "single":
            if c == "'":
                state = "pre_value"
            else:
                value += c
        elif state == "double":
            if c == '"':
                state = "pre_value"
            elif c == "\\":
                state = "double_escape"
            else:
                value += c
        elif state == "double_escape":
            state = "double"
            if c in _SHELL_NEED_ESCAPE:
                value += c
            elif c != "\n":
                value += "\\" + c
        elif state == "comment":
            if comment_escape:
                comment_escape = False
            elif c == "\\":
                comment_escape = True
            elif c in _NEWLINE:
                state = "pre_key"
    if state not in ("pre_key", "comment", "key"):
        end()
    return found
