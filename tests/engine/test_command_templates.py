"""Commands: values reach them whole, as arguments, and never become shell text."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import subprocess
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arcli.engine import template
from arcli.engine.template import BadTemplate, Names, is_name, text_of
from arcli.placeholders import compiled, compiled_script, placeholders, words_in_braces

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


def shell_call(text: str, names: Names) -> list[str]:
    """Compile a shell string as the client does, and fill it in as an engine does."""
    return template.shell_call(compiled_script(text), names)


def argv_call(argv: list[str], names: Names) -> list[str]:
    """Likewise, for an argv list."""
    return template.argv_call([compiled(part) for part in argv], names)


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
    assert said(shell_call(f"{SHOW} {{}}", Names(value, 0))) == [value]


@shells
@given(hostile, hostile, st.integers())
def test_columns_reach_a_shell_command_whole(first: str, second: str, number: int) -> None:
    row = {"a": first, "b_2": second, "n": number}
    text = f"{SHOW} {{b_2}} x{{a}}y {{n}} {{a}} {{index}} '$HOME' | cat"
    assert said(shell_call(text, Names(row, 7))) == [
        second, f"x{first}y", str(number), first, "7", "$HOME",
    ]  # fmt: skip


@shells
@given(hostile)
@pytest.mark.parametrize("script", ['"$(printf "%s." {})"', '"`printf %s. {}`"'])
def test_a_value_passes_through_command_substitutions(script: str, value: str) -> None:
    # The full stop is there because substitutions drop newlines at the end.
    assert said(shell_call(f"{SHOW} {script}", Names(value, 0))) == [f"{value}."]


@given(hostile, st.text("{}abc_ $'\"", max_size=20))
def test_no_value_changes_the_script(value: str, text: str) -> None:
    """The script depends on the template alone; values are only positional parameters."""

    def script(item: str) -> list[str] | str:
        try:
            return shell_call(text, Names(item, 0))[:3]
        except ValueError as error:
            return str(error)

    assert script(value) == script("harmless")


@shells
@given(hostile)
def test_a_value_reaches_an_argv_whole(value: str) -> None:
    argv = argv_call(["printf", "%s\\0", "{}", "x{}y", "$HOME"], Names(value, 0))
    assert said(argv) == [value, f"x{value}y", "$HOME"]


@given(hostile, hostile)
def test_a_value_that_looks_like_a_placeholder_is_not_filled_in_again(a: str, b: str) -> None:
    names = Names({"a": f"{{b}}{a}", "b": b}, 0)
    assert argv_call(["{a}", "{b}"], names) == [f"{{b}}{a}", b]


@given(st.text(st.one_of(st.sampled_from(list("-.{}019aZ_ü°\u0301 /")), st.characters(codec="utf-8"))))
def test_what_is_a_name_is_a_placeholder_in_braces(key: str) -> None:
    found = [place.name for place in words_in_braces(f"{{{key}}}")]
    assert (found == [key]) == is_name(key)


@pytest.mark.parametrize("braces", ["{1}", "{.}", "{/}", "{#}", "{a-b}", "{x}"])
def test_doubled_braces_are_single_ones_whatever_they_hold(braces: str) -> None:
    assert said(shell_call(f"{SHOW} {{{braces}}} {{}}", Names("v", 0))) == [braces, "v"]
    assert argv_call([f"a{{{braces}}}b", "{}"], Names("v", 0)) == [f"a{braces}b", "v"]


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
        ("cat <<E > {}\n{}\nE\necho {}", [("", None), ("", "a here-document"), ("", None)]),
        ("cat <<-'E F' <<G\n{}\n\tE F\n{}\nG\n{}", [*[("", "a here-document")] * 2, ("", None)]),
        ("cat <<< {}\n{}", [("", None), ("", None)]),
        ("echo $((1<<3)) {}", [("", None)]),
        ("echo $(( (1<<3) + {} )) {}", [("", "an arithmetic expression"), ("", None)]),
        ("echo $((cat {}) | wc) {}", [("", "an arithmetic expression"), ("", None)]),
        ("echo a;#it's\necho {}", [("", None)]),
        ("echo `ls # it's` {}", [("", None)]),
        ('echo ${HOME:-{}} ${#HOME} "${HOME:-{}}"', [("", None), ("", "double quotes")]),
        ("f() { echo {}; }; f", [("", None)]),
        ('echo "$(case a in a) echo {};; esac)"', [("", None)]),
        ('echo "$(case a in a) echo "{}";; esac)" {}', [("", "double quotes"), ("", None)]),
        ('echo "$(case a in (a) echo {};; *) :; esac; echo case {})" {}', [("", None)] * 3),
        ('echo "$(a && \\\ncase a in a) echo {};; esac)" {}', [("", None)] * 2),
        ("find . -exec echo \\{} + -o {{}} -o {{a}} {{{b}}}", []),
        ("cp {a.stem} {b.x}", [("a.stem", None), ("b.x", None)]),
        ("echo a#'{}'", [("", "single quotes")]),
        ("f {a-b} {übung} {2x}", [("a-b", None), ("übung", None), ("2x", None)]),
        ("f {b.c-d} {1.5} 't_{°C}'", [("b.c-d", None), ("1.5", None), ("°C", "single quotes")]),
        ("echo {2} {-a} {a-} {a..b} {1..9} {1.} {a/} {a\u00a0b} {a.-b}", []),
        ("a=$'\\\\' b=$'it\\'s'; echo {} $'\\'{}'", [("", None), ("", "single quotes")]),
        ("echo \"$'{}\" {} $$'\\' {}", [("", "double quotes"), ("", None), ("", None)]),
        ("((y = 1 << (3)))\nif ! ((y<<2)); then echo {}; fi\necho {}", [("", None)] * 2),
        ("for ((i = 1<<3; i < {}; )); do :; done\necho {}", [("", "an arithmetic expression"), ("", None)]),
        ("((cat {}); echo {}); ( (echo {}))", [("", None)] * 3),
        ("cat <((cat {}) )\n[[ (({} == a)) ]]", [("", None)] * 2),
        ("b[1<<1]=4 c[2<<1]=5; b[$y<<1]+=2\necho ${b[1<<1]} {}", [("", None)]),
    ],
)
def test_where_placeholders_stand(text: str, found: list[tuple[str, str | None]]) -> None:
    assert [(place.name, place.inside) for place in placeholders(text)] == found
    assert all(text[place.start] == "{" for place in placeholders(text))


def test_a_placeholder_in_quotes_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="single quotes"):
        shell_call("echo '{}'", Names("a", 0))


def test_braces_in_quotes_that_name_nothing_are_left_to_the_program() -> None:
    argv = shell_call(f"f() {{ {SHOW} $1; }}; awk '{{print}}' /dev/null; f {{}}", Names("a b", 0))
    assert said(argv) == ["a", "b"]


@pytest.mark.parametrize("text", ["echo {nmae}", "echo {} {a.stem}", "{print $1} {stm}"])
def test_a_name_that_nothing_has_is_an_error_that_says_what_there_is(text: str) -> None:
    with pytest.raises(BadTemplate, match=r"there is no \{\w+(\.\w+)?\} .* has \{\}, \{index\}"):
        shell_call(text, Names("x", 0))
    with pytest.raises(BadTemplate, match=r"there is no \{\w+(\.\w+)?\} .* has \{\}, \{index\}"):
        argv_call([text], Names("x", 0))


def test_a_key_that_is_no_name_is_not_offered() -> None:
    with pytest.raises(BadTemplate, match=r"has \{\}, \{index\}, .* \{a-b\}; "):
        shell_call("echo {x}", Names({"a-b": 1, "c d": 2, "7": 3}, 0))


def test_doubled_braces_are_braces() -> None:
    names = Names({"a": "x", "b": 1}, 0)
    argv = shell_call(f"{SHOW} {{{{}}}} {{{{a}}}} '{{{{a}}}}' \\{{}} {{{{{{b}}}}}} {{a}}", names)
    assert said(argv) == ["{}", "{a}", "{a}", "{}", "{{b}}", "x"]
    assert argv_call(["{{}}", "{{a}}={a}", "{print $1}"], names) == ["{}", "{a}=x", "{print $1}"]


@pytest.mark.parametrize("script", ["f() { SHOW {}; }; f hi", "set -- q; SHOW {}", "(shift; SHOW {})"])
def test_values_survive_what_a_script_does_to_its_positional_parameters(script: str) -> None:
    assert said(shell_call(script.replace("SHOW", SHOW), Names("a  b", 0))) == ["a  b"]


def test_a_missing_program_is_told_by_the_shell_and_its_line() -> None:
    argv = shell_call("# {x}\nno-such-program {}", Names("a", 0))
    run = subprocess.run(argv, capture_output=True, check=False, text=True)
    assert "arcli" not in run.stderr
    assert "2" in run.stderr


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
        ((1, (2,)), "[1, [2]]"),
        ({3}, "[3]"),
        (OrderedDict(a=(1,)), '{"a": [1]}'),
        (dt.datetime(2020, 1, 2, 3), "2020-01-02T03:00:00"),
        (Decimal("1.10"), "1.10"),
        (math.inf, "inf"),
        (1j, "1j"),
        ({1: "a", "1": "b"}, "{1: 'a', '1': 'b'}"),
    ],
)
def test_values_as_arguments(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_arrays_as_arguments_are_whole() -> None:
    np = pytest.importorskip("numpy")
    assert json.loads(text_of(np.arange(3000))) == list(range(3000))
    assert [text_of(np.float32(0.1)), text_of(np.bool_(True)), text_of(np.array(5))] == ["0.1", "true", "5"]


def test_items_of_one_key_are_what_it_has_in_a_batch_too() -> None:
    assert Names({"x": "a b"}, 0)[""] == "a b"
    assert Names([{"x": "a b"}, {"x": 2}], 0, batch=3).words("") == ["a b", "2"]
    assert Names([{"x": 1, "y": 2}], 0, batch=3)["arg1"] == '{"x": 1, "y": 2}'


def test_a_column_without_a_name_does_not_hide_the_item() -> None:
    names = Names({"": 0, "a": 1}, 0)
    assert (json.loads(names[""]), names["a"]) == ({"": 0, "a": 1}, "1")
    assert Names({"": 7}, 0)[""] == "7"
    assert Names([{"": 7}, {"": 8}], 0, batch=3)[""] == "7 8"


def test_what_placeholders_stand_for() -> None:
    assert dict(Names("/data/run 1.tar.gz", 4)) == {
        "": "/data/run 1.tar.gz",
        "index": "4",
        "number": "5",
        "attempt": "1",
        "slot": "0",
        "stem": "run 1.tar",
        "suffix": ".gz",
        "parent": "/data",
        "name": "run 1.tar.gz",
        "root": "/data/run 1.tar",
        "path": "/data/run 1.tar.gz",
    }
    where = {"index": "0", "number": "1", "attempt": "1", "slot": "0"}
    assert dict(Names({"a": 1}, 0)) == {"": "1", "a": "1", **where}
    assert json.loads(Names({"a": 1, "b": "x"}, 0)[""]) == {"a": 1, "b": "x"}
    assert Names({"index": "a column", "b": 1}, 3)["index"] == "a column"
    assert dict(Names(5, 2)) == {"": "5", **where, "index": "2", "number": "3"}


def test_a_path_that_begins_with_its_folder_stays_one() -> None:
    """As `find .` writes them: without it a name such as -rf.txt were an option."""
    for text, root, parent in (
        ("./-x.y", "./-x", "."),
        ("./-d/x.tar.gz", "./-d/x.tar", "./-d"),
        ("./a", "./a", "."),
        ("./", ".", "."),
        ("-x.y", "-x", "."),
        ("/a/./b.c", "/a/b", "/a"),
    ):
        names = Names(text, 0)
        assert (names["root"], names["parent"]) == (root, parent)
        assert Names({"f": text, "g": 1}, 0)["f.root"] == root


@pytest.mark.parametrize(
    ("text", "stem", "suffix"),
    [("a.", "a", "."), ("d.e/a.b.", "a.b", "."), (".rc", ".rc", ""), ("..a", "..a", ""), ("..", "..", "")],
)
def test_a_name_is_its_stem_and_its_suffix_and_a_root_ends_as_its_stem(
    text: str, stem: str, suffix: str
) -> None:
    names = Names(text, 0)
    assert (names["stem"], names["suffix"], names["name"]) == (stem, suffix, stem + suffix)
    assert names["root"] == text.removesuffix(suffix)


def test_parts_of_paths_in_the_keys_of_an_item() -> None:
    names = Names({"file": "d/e.txt", "q": 1}, 0)
    assert [names[f"file.{part}"] for part in ("stem", "suffix", "parent", "name")] == [
        "e", ".txt", "d", "e.txt",
    ]  # fmt: skip
    assert (names["stem"], names["path"]) == ("e", os.path.abspath("d/e.txt"))  # noqa: PTH100
    for absent in ("q.stem", "x.stem", "file.x", "index.stem"):
        assert absent not in names
    two = Names({"a": "b.c", "d": "e.f"}, 0)
    assert "stem" not in two
    assert two["a.stem"] == "b"
    assert Names({"stem": "mine", "x": 1}, 0)["stem"] == "mine"
    assert Names(b"d/\xff.txt", 0)["stem"] == "\udcff"


def test_only_what_is_used_needs_a_text() -> None:
    names = Names({"a": 1, "when": dt.datetime(2026, 1, 2), "raw": b"x", "what": object()}, 0)
    assert said(shell_call(f"{SHOW} {{a}}", names)) == ["1"]
    assert json.loads(Names({"a": 1, "when": dt.date(2026, 1, 2)}, 0)[""])["when"] == "2026-01-02"


@shells
@given(st.lists(hostile, min_size=1, max_size=4))
def test_a_batch_is_as_many_words_as_it_has_items(values: list[str]) -> None:
    names = Names(values, 0, batch=4)
    assert said(shell_call(f"{SHOW} {{}}", names)) == values
    assert argv_call(["x", "{}"], names) == ["x", *values]
    assert names["arg4"] == (values[3] if len(values) > 3 else "")


@pytest.mark.parametrize(
    "script",
    [
        "[[ {} == 'a  b' ]] && SHOW {}",
        "x=$'it\\'s'; SHOW {}",
        "((y = 1 << 3))\nSHOW {}",
        "b[1<<1]=4\nSHOW {}",
        "for ((i = 1<<3; i < 9; i++)); do SHOW {}; done",
        "((SHOW {}); :)",
    ],
)
def test_another_shell_reads_the_string(script: str) -> None:
    compiled_text = compiled_script(script.replace("SHOW", SHOW))
    argv = template.shell_call(compiled_text, Names("a  b", 0), "bash")
    assert argv[0] == "bash"
    assert said(argv) == ["a  b"]
