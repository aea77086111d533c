"""What a valid spec says: scalars, parameters, the environment, overrides, short forms."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from arcli.errors import SpecError
from arcli.fields import Deferred, DeferredText
from arcli.specfile.compose import FAST, compose
from arcli.specfile.interpolate import Interpolator
from arcli.specfile.load import load
from arcli.specfile.model import Spec
from arcli.specfile.overrides import set_values, text_of
from arcli.specfile.schema import json_schema
from arcli.specfile.tree import Text

JOBS = Path(__file__).parents[2] / "jobs"
ENVIRON = {"HOME": "/home/me", "EMPTY": ""}


def spec_of(tmp_path: Path, text: str, **options: Any) -> Spec:
    path = tmp_path / "my job.yaml"
    path.write_text(text)
    return load(str(path), environ=ENVIRON, **options)


def items_of(tmp_path: Path, text: str, **options: Any) -> Any:
    return settings(spec_of(tmp_path, "map: f:f\n" + text, **options)).items


def settings(spec: Spec, job: int = 0) -> Any:
    """What stands under the key of a job's input."""
    over = spec.jobs[job].over
    assert over is not None
    return over.input


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"), ("on", "on"), ("yes", "yes"), ("true", True), ("False", False),
        ("010", 10), ("0o10", 8), ("0x1F", 31), ("1e3", 1000.0), ("1_000", "1_000"),
        ("12:30:00", "12:30:00"), ("2026-01-31", "2026-01-31"), ("2026-13-45", "2026-13-45"),
        ("~", None), ("null", None), ("", None), (".5", 0.5), ("5.", 5.0), ("-.inf", -math.inf),
        ("+3", 3), ("'3'", "3"), ('"3"', "3"), ("!!str 3", "3"), ("!!float 3", 3.0), ("=", "="),
        ("1.2.3", "1.2.3"), ("-", "-"), ("+", "+"), (".", "."), ("0b1", "0b1"), ("1e", "1e"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("loader", [FAST, yaml.SafeLoader], ids=["libyaml", "pure"])
def test_scalars_mean_what_they_look_like(text: str, value: Any, loader: type) -> None:
    if text == "-":
        text = "'-'"  # a plain dash is no scalar
    found = compose(Text("x", f"a: {text}\n"), loader).get("a")
    assert found is not None
    assert (found.value, type(found.value)) == (value, type(value))


def test_not_a_number_is_one() -> None:
    assert math.isnan(compose(Text("x", "a: .nan")).plain_data()["a"])


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc_", min_size=1), inner),
    max_leaves=12,
)


@given(plain)
def test_json_is_read_as_json(tree: Any) -> None:
    text = json.dumps(tree, ensure_ascii=False)
    if any(odd in text for odd in ("\ufffe", "\uffff", "\ufeff")) or "Infinity" in text:
        return
    assert compose(Text("x", f"a: {text}")).plain_data() == {"a": tree}


odd = st.sampled_from(["", "~", "007", "1e3", "[1]", " x ", "${env.HOME}", "$${", "a$", "{a}", "\x7f"])
any_text = odd | st.lists(odd | st.text(max_size=5), max_size=4).map("".join)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)


@given(any_json)
def test_a_python_value_arrives_as_it_is(value: Any) -> None:
    for default in ("1", "text", "true", "[1]"):
        root = compose(Text("spec", f"params: {{a: {default}}}"))
        assert list(set_values(root, [("params.a", text_of(value))])) == []
        interpolator = Interpolator(root, ENVIRON)
        assert repr(interpolator.params()["a"]) == repr(value)
        assert interpolator.problems == []


def test_a_key_may_be_long() -> None:
    for length in (900, 1000, 1020, 1030, 5000):
        value = {"é" * length: 1, "b" * length: {"c" * length: [2]}}
        assert compose(Text("--set", text_of(value))).plain_data() == value


def test_what_a_spec_cannot_hold_has_no_text() -> None:
    for value in ({1: 2}, {1}, b"x", 1j, [object()], "\udcff", {"\udcff": 1}, 10**5000, Path("\udcff")):
        with pytest.raises(ValueError, match=r"not text|cannot hold|digits"):
            text_of({"a": [value]})


def test_set_knows_the_names_of_parameters(tmp_path: Path) -> None:
    text = "params: {count: 1}\nmap: f:f\nover: [1]\n"
    with pytest.raises(SpecError) as raised:
        spec_of(tmp_path, text, sets=[("params.cuont", "2")])
    (problem,) = raised.value.problems
    assert (problem.message, problem.hint) == ("there is no parameter 'cuont'", "did you mean 'count'?")


def test_parameters_keep_their_type_unless_they_are_inside_of_a_text(tmp_path: Path) -> None:
    text = """\
params: {n: 3, xs: [1, {y: 2}], t: true, name: "v${params.n}", home: "${env.HOME}"}
over:
- ${params.n}
- "${params.xs}"
- n=${params.n} t=${params.t}
- ${params.name}
- ${params.home}/x
- ${params.xs.1.y}
- ${env.NOWHERE:-none} ${env.EMPTY:-e}
- $${HOME} costs $5 or $${params.n}
"""
    assert items_of(tmp_path, text) == [
        3, [1, {"y": 2}], "n=3 t=true", "v3", "/home/me/x", 2, "none e",
        "${HOME} costs $5 or ${params.n}",
    ]  # fmt: skip


def test_what_only_a_run_knows_stays_late(tmp_path: Path) -> None:
    text = (
        "setup: {push: {a: 1}}\n"
        'apply: f:f\nargs: ["${ref.a.b}", "x${engines.count}y"]\nkwargs: {k: "${engines.slots}"}\n'
    )
    job = spec_of(tmp_path, text).jobs[0]
    assert job.args == [
        Deferred("ref", "a.b"),
        DeferredText(("x", Deferred("engines", "count"), "y")),
    ]
    assert job.kwargs == {"k": Deferred("engines", "slots")}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("7", 7), ("1e3", 1000.0), ("true", True), ("*.txt", "*.txt"), ("a: b # c", "a: b # c"),
        ("[1, x]", [1, "x"]), ("{a: 1}", {"a": 1}), ('"7"', "7"), ("", None), ("null", None),
    ],
)  # fmt: skip
def test_a_parameter_from_the_command_line(tmp_path: Path, given: str, value: Any) -> None:
    text = 'params: {n: 1}\nover: ["${params.n}"]\n'
    assert items_of(tmp_path, text, params={"n": given}) == [value]


def test_a_parameter_that_is_text_stays_text(tmp_path: Path) -> None:
    text = 'params: {version: "1.10"}\nover: ["${params.version}"]\n'
    assert items_of(tmp_path, text, params={"version": "1.20"}) == ["1.20"]
    assert items_of(tmp_path, text, params={"version": "[1]"}) == ["[1]"]
    assert items_of(tmp_path, text, params={"version": '"q"'}) == ['"q"']
    assert items_of(tmp_path, text, sets=[("params.version", "[1]")]) == [[1]]


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("5", 5), ("010", 10), ("1e3", 1000.0), ("NO", "NO"), ("true", True), ("5 a", "5 a"),
        ("[1]", "[1]"), ("", None),
    ],
)  # fmt: skip
def test_a_variable_is_read_as_if_it_stood_there(tmp_path: Path, given: str, value: Any) -> None:
    text = (
        'params: {n: "${env.N}"}\nmap: f:f\n'
        'over: ["${env.N}", "${params.n}", "n=${env.N}", "${env.NONE:-7}"]\n'
    )
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    spec = load(str(path), environ={"N": given})
    assert settings(spec).items == [value, value, f"n={given}", 7]


def test_a_variable_can_be_a_number_of_items_or_engines(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text('map: f:f\nover: {range: "${env.N}"}\ncluster: {engines: "${env.N}"}\n')
    spec = load(str(path), environ={"N": "5"})
    assert (settings(spec).numbers, spec.cluster.engines) == (5, 5)
    (tmp_path / "spec.yaml").write_text('params: {n: "${env.N}"}\nmap: f:f\nover: ["${params.n}"]\n')
    assert settings(load(str(path), environ={"N": "5"}, params={"n": "6"})).items == [6]


def test_where_text_is_wanted_a_value_is_the_text_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        """\
params: {n: 1_0, m: 0x10, k: "${env.ID}", debug: true}
command: [echo, "${env.ID}", "${params.m}"]
over: {csv: "${env.ID}"}
env: {A: "${env.ID}", B: "${params.n}", C: "${params.m}", D: "${params.k}", E: "${params.debug}"}
"""
    )
    (tmp_path / "010").write_text("a\n1\n")
    spec = load(str(path), environ={"ID": "010"})
    job = spec.jobs[0]
    assert job.env == {"A": "010", "B": "1_0", "C": "0x10", "D": "010", "E": "true"}
    assert job.command == ["echo", "010", "0x10"]
    assert settings(spec).path == "010"


def test_a_number_in_a_longer_text_is_the_text_that_was_written(tmp_path: Path) -> None:
    """A version, or an id: two that differ must not become one name of a file."""
    path = tmp_path / "spec.yaml"
    path.write_text(
        """\
params: {v: 1.10, m: {x: 0x10, l: [1e3, {z: 007}]}, k: "${env.ID}", w: "${params.v}", on: True, no: ~}
command: "echo v${params.v} ${params.m.x} ${params.m.l.0} ${params.m.l.1.z} ${params.k} ${params.w}"
over: [1]
env: {A: "is ${params.on}, ${params.no}"}
output: ["o-${params.v}.jsonl"]
"""
    )
    environ = {"ID": "007"}
    job = load(str(path), environ=environ).jobs[0]
    assert job.command == "echo v1.10 0x10 1e3 007 007 1.10"
    assert job.env == {"A": "is true, null"}
    names = {load(str(path), environ=environ, params={"v": v}).output[0].path for v in ("1.1", "1.10")}
    assert len(names) == 2


def test_an_interpreter_is_found_beside_the_spec_or_by_its_name(tmp_path: Path) -> None:
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    text = "map: f:f\nover: [1]\ncluster: {python: %s}\n"
    assert spec_of(tmp_path, text % "env/bin/python").python == str(python)
    assert spec_of(tmp_path, text % sys.executable).python == sys.executable
    assert spec_of(tmp_path, text % "sh").python == "sh"


def test_what_is_pushed_may_use_what_is_imported(tmp_path: Path) -> None:
    text = (
        "map: f:f\nover: [1]\nsetup: {imports: [math as m],"
        ' push: {a: "${ref.m.pi}", b: "${ref.len}", c: "${engines.count}"}}\n'
    )
    assert spec_of(tmp_path, text).setup.push["a"] == Deferred("ref", "m.pi")


def test_set_replaces_and_adds_values(tmp_path: Path) -> None:
    text = "jobs:\n- {name: a, map: f:f, over: [1]}\n- {name: b, map: f:f, over: [1]}\n"
    sets = [("jobs.a.retries", "2"), ("jobs.1.over", "{range: 3}"), ("cluster.env.X", '"1"')]
    spec = spec_of(tmp_path, text, sets=sets)
    assert [job.retries for job in spec.jobs] == [2, 0]
    assert settings(spec, 1).numbers == 3
    assert spec.cluster.env == {"X": "1"}


@pytest.mark.parametrize("path", ["retries", "jobs.my_job.retries", "jobs.0.retries"])
def test_set_reaches_a_single_job_either_way(tmp_path: Path, path: str) -> None:
    spec = spec_of(tmp_path, "map: f:f\nover: [1]\n", sets=[(path, "2")])
    assert spec.jobs[0].retries == 2


def test_short_forms_are_the_long_ones(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "map: f:f\nover: {glob: a*}\nmax_failures: 3%\nhalt: now\noutput: [a.csv]")
    assert (spec.name, spec.jobs[0].name) == ("my_job", "my_job")
    assert spec.jobs[0].max_failures.percent == 3
    assert spec.output[0].path == "a.csv"


def test_a_pattern_may_stand_alone_and_a_file_have_conditions(tmp_path: Path, editor: Any) -> None:
    (tmp_path / "rows").touch()
    glob = {"patterns": "a*", "exclude": "b*"}
    rows = {"path": "rows", "where": {"a": [1, None]}}
    for over in ({"glob": glob}, {"jsonl": rows}, {"csv": {**rows, "header": ["a"]}}):
        text = json.dumps({"map": "f:f", "over": over})
        assert spec_of(tmp_path, text).jobs[0].over is not None
        assert [error.message for error in editor.iter_errors(json.loads(text))] == []
    found = settings(spec_of(tmp_path, json.dumps({"map": "f:f", "over": {"glob": glob}})))
    assert (found.patterns, found.exclude) == (["a*"], ["b*"])


def test_pipes_are_files_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    job = spec_of(tmp_path, "map: f:f\nover: {csv: pipe}\n").jobs[0]
    assert job.over is not None


def test_defaults_hold_for_jobs_that_say_nothing_else(tmp_path: Path) -> None:
    text = """\
defaults: {retries: 2, timeout: 1m}
jobs:
- {name: a, apply: f:f}
- {name: b, apply: f:f, retries: 0}
"""
    spec = spec_of(tmp_path, text)
    assert [(job.retries, job.timeout) for job in spec.jobs] == [(2, 60), (0, 60)]


def test_names_that_the_setup_makes_are_known(tmp_path: Path) -> None:
    text = """\
setup:
  imports: [math, numpy as np, os.path, from json import dumps as show]
  push: {scale: 2}
  scatter: {id: [1]}
  run: |
    from json import loads as parse
    def f(x): return x
    class C: pass
    for i in []: pass
map: "lambda x, *a, k=id: [np, os, math, show, scale, parse, f, C, i, print, x, [y for y in a]]"
over: [1]
"""
    assert spec_of(tmp_path, text).jobs[0].map is not None


def test_names_are_not_judged_where_they_cannot_be_known(tmp_path: Path) -> None:
    text = "setup: {run: from math import *}\nmap: sqrt\nover: [1]\n"
    assert spec_of(tmp_path, text).jobs[0].map == "sqrt"


def test_a_spec_from_standard_input_is_relative_to_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import io

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"map: f:f\nover: [1]\n")))
    spec = load("-")
    assert (spec.name, spec.folder) == ("stdin", tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"map: f:f\nover: {stdin: lines}\n")))
    with pytest.raises(SpecError) as caught:
        load("-")
    assert "standard input is the spec" in caught.value.problems[0].message


def test_the_schema_knows_every_key_and_form() -> None:
    schema = json_schema()
    keys = schema["properties"]
    assert {"map", "over", "jobs", "defaults", "cluster", "setup", "params", "output"} <= set(keys)
    assert not {"file", "folder", "places"} & set(keys)
    assert {"type": "array"} in schema["$defs"]["Over"]["anyOf"]


REFUSED = [
    "{}", "jobs: []", "map: f:f", "map: f:f\ncommand: ls\nover: [1]", "apply: f:f\nover: [1]",
    "map: f:f\nover: {range: 1, list: [1]}", "map: f:f\nover: {}", "name: x",
    "map: f:f\nover: [1]\nhalt: {okay: 1}", "map: f:f\nover: [1]\ntimeout: 3 parsecs",
    "jobs: [{name: a, map: f:f}]", "map: f:f\nover: [1]\nretries: null",
    "command: wc\nover: {blocks: {of: stdin, bytes: 1 furlong}}", "apply: f:f\nkeep: {age: 3 parsecs}",
    "apply: f:f\nnotify: {on: never, run: [a]}", "apply: f:f\nnotify: {on: ok, run: [a], timeout: 200%}",
]  # fmt: skip
ACCEPTED = [
    "map: f:f\nover: [1]\ntimeout: 1h 30m", "map: f:f\nover: [1]\ntimeout: 200%\ndelay: 10ms",
    "map: f:f\nover: [1]\nhalt: {ok: 1, failed: 3%, how: now}\nbatch: 2", "apply: f:f",
    "apply: f:f\nsetup: {scatter: {a: [1], b: {range: 3}, c: {over: {range: 3}, flatten: false}}}",
    "command: ls\nover: {range: 2, shuffle: 1}",
    'map: f:f\nover: [1]\ntimeout: "${env.T}"', "jobs: [{name: a, notebook: a.ipynb, over: [1]}]",
    "map: f:f\nover: [1]\ntimeout: null\ndeadline: null\nreduce: null\ncollect: null\ntail: false",
    "command: ls\nover: [1]\nparse: null\noutdir: null\ncluster: {python: null, threads_per_engine: null}",
    "command: wc\nover: {blocks: {of: stdin, bytes: 1M}}\nkeep: {runs: 20, age: 30d}",
    "command: wc\nover: {blocks: {of: stdin, bytes: 1.5 KiB}}\nkeep: null",
    'apply: f:f\nnotify: {on: failed, run: ["true"]}\ndefaults: {timeout: null, view: null}',
    "apply: f:f\nnotify: [{on: [ok, failed], ping: 'https://a/b', timeout: 1m}, {run: [sleep, 1]}]",
    "map: f:f\nover: [1]\nhalt: {ok: null, failed: 1}\ncommand_stdin: null",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED + ACCEPTED)
def test_the_schema_agrees_with_the_check(text: str, editor: Any) -> None:
    tree = compose(Text("spec", text)).plain_data()
    assert editor.is_valid(tree) == (text in ACCEPTED)


@pytest.mark.parametrize("spec", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_accepts_what_ships(spec: Path, editor: Any) -> None:
    tree = compose(Text(str(spec), spec.read_text())).plain_data()
    assert [error.message for error in editor.iter_errors(tree)] == []
