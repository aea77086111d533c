"""Commands: values reach them whole, as arguments, and never become shell text."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arcli.engine.command import argv_call, placeholders, shell_call, text_of, values_of

# What the operating system can pass as an argument: anything but NUL.
hostile = st.text(
    st.one_of(
        st.sampled_from(list("'\"\\`$(){}[]|&;<>*?!#~=% \t\n\r-")),
        st.characters(codec="utf-8", exclude_characters="\0"),
    ),
    max_size=30,
)
SHOW = "printf '%s\\0'"
shells = settings(deadline=None, max_examples=60)


def said(argv: list[str]) -> list[str]:
    """What a command that ends each word with a NUL has printed."""
    run = subprocess.run(argv, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    assert run.stderr == b""
    return os.fsdecode(run.stdout).split("\0")[:-1]


@shells
@given(hostile)
@example("$(touch /tmp/pwned)")
@example("'; exit 3; '")
@example('"; exit 3; "')
@example("a\nexit 3\n")
@example("{}")
@example("{name}")
@example("${1}")
@example("-n")
@example("")
@example("\\")
def test_a_value_reaches_a_shell_command_whole_and_as_one_word(value: str) -> None:
    assert said(shell_call(f"{SHOW} {{}}", values_of(value, 0))) == [value]


@shells
@given(hostile, hostile, st.integers())
def test_columns_reach_a_shell_command_whole(first: str, second: str, number: int) -> None:
    row = {"a": first, "b_2": second, "n": number}
    text = f"{SHOW} {{b_2}} x{{a}}y {{n}} {{a}} {{index}} '$HOME' | cat"
    assert said(shell_call(text, values_of(row, 7))) == [
        second, f"x{first}y", str(number), first, "7", "$HOME",
    ]  # fmt: skip


@shells
@given(hostile)
@pytest.mark.parametrize("template", ['"$(printf "%s." {})"', '"`printf %s. {}`"'])
def test_a_value_passes_through_command_substitutions(template: str, value: str) -> None:
    # The full stop is there because substitutions drop newlines at the end.
    assert said(shell_call(f"{SHOW} {template}", values_of(value, 0))) == [f"{value}."]


@given(hostile, st.text("{}abc_ $'\"", max_size=20))
def test_no_value_changes_the_script(value: str, template: str) -> None:
    """The script depends on the template alone; values are only positional parameters."""

    def script(item: str) -> list[str] | str:
        try:
            return shell_call(template, values_of(item, 0))[:3]
        except ValueError as error:
            return str(error)

    assert script(value) == script("harmless")


@shells
@given(hostile)
def test_a_value_reaches_an_argv_whole(value: str) -> None:
    argv = argv_call(["printf", "%s\\0", "{}", "x{}y", "$HOME"], values_of(value, 0))
    assert said(argv) == [value, f"x{value}y", "$HOME"]


@given(hostile, hostile)
def test_a_value_that_looks_like_a_placeholder_is_not_filled_in_again(a: str, b: str) -> None:
    names = values_of({"a": f"{{b}}{a}", "b": b}, 0)
    assert argv_call(["{a}", "{b}"], names) == [f"{{b}}{a}", b]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("wc {}", [("", None)]),
        ("cp {a} {b}.{index}", [("a", None), ("b", None), ("index", None)]),
        ("echo '{}'", [("", "single quotes")]),
        ('echo "{}"', [("", "double quotes")]),
        ('echo "a" {} "b"', [("", None)]),
        ("echo it\\'s {}", [("", None)]),
        ('echo \\"{}', [("", None)]),
        ('echo "\'" {}', [("", None)]),
        ("echo '\"' {}", [("", None)]),
        ('echo "$(cat {})"', [("", None)]),
        ('echo "$(cat "{}")"', [("", "double quotes")]),
        ("echo `cat {}`", [("", None)]),
        ("(cd /; ls {}) && echo {a}", [("", None), ("a", None)]),
        ("echo ${HOME} ${index} {a}", [("a", None)]),
        ("awk '{print}' {}", [("print", "single quotes"), ("", None)]),
        ("echo {1} {a b} {a,b} { }", []),
        ("# it's\necho {}", [("", None)]),
        ("cat <<E\n{}\nE", [("", "a here-document")]),
        ("echo a#'{}'", [("", "single quotes")]),
    ],
)
def test_where_placeholders_stand(text: str, found: list[tuple[str, str | None]]) -> None:
    assert [(place.name, place.inside) for place in placeholders(text)] == found
    assert all(text[place.start] == "{" for place in placeholders(text))


def test_a_placeholder_in_quotes_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="single quotes"):
        shell_call("echo '{}'", values_of("a", 0))


def test_braces_that_name_nothing_are_left_to_the_shell() -> None:
    argv = shell_call(
        f"f() {{ {SHOW} $1; }}; awk '{{print}}' /dev/null; f {{}}", values_of("a b", 0)
    )
    assert said(argv) == ["a", "b"]
    assert argv_call(["{missing}", "{}"], values_of(1, 0)) == ["{missing}", "1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (b"\xff", "\udcff"),
        (3, "3"),
        (0.1, "0.1"),
        (True, "true"),
        (None, "null"),
        ([1, "a"], '[1, "a"]'),
        ({"a": None}, '{"a": null}'),
    ],
)
def test_values_as_arguments(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_what_placeholders_stand_for() -> None:
    assert values_of("/data/run 1.tar.gz", 4) == {
        "": "/data/run 1.tar.gz",
        "index": "4",
        "stem": "run 1.tar",
        "suffix": ".gz",
        "parent": "/data",
        "name": "run 1.tar.gz",
    }
    assert values_of({"a": 1}, 0) == {"": "1", "a": "1", "index": "0"}
    assert json.loads(values_of({"a": 1, "b": "x"}, 0)[""]) == {"a": 1, "b": "x"}
    assert values_of({"index": "a column", "b": 1}, 3)["index"] == "a column"
    assert values_of(5, 2) == {"": "5", "index": "2"}
