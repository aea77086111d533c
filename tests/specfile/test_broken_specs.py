"""Every way in which a spec can be wrong: one clear problem at its place, exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from arcli.errors import ExitCode, Problem, SpecError
from arcli.specfile.compose import FAST, compose
from arcli.specfile.load import load
from arcli.specfile.tree import LARGEST, Text

MAP = "map: math:sqrt\n"


def problems_of(tmp_path: Path, text: str | bytes, **options: object) -> list[Problem]:
    """The problems of a spec, as a fresh file."""
    path = tmp_path / "spec.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecError) as caught:
        load(str(path), environ={"HOME": "/home/me"}, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == ExitCode.USAGE
    return caught.value.problems


TRAPS = [
    ("map: lambda x: x\n", 1, 14, 'quote it: "lambda x: x"'),
    ("command: {} | wc\nover: [1]\n", 1, None, 'quote it: "{} | wc"'),
    (MAP + "over: {glob: *.txt}\n", 2, 14, 'quote it: "*.txt"'),
    (MAP + "over:\n  glob: *.txt\n", 3, 9, 'quote it: "*.txt"'),
    (MAP + "over:\n  glob: *txt\n", 3, 9, 'quote it: "*txt"'),
    (MAP + "over: {glob: **/*.txt}\n", 2, 14, 'quote it: "**/*.txt"'),
    (MAP + "over: {range: ${params.n}}\n", 2, 15, 'quote it: "${params.n}"'),
    ("map: @f\n", 1, 6, 'quote it: "@f"'),
    ("map: `f`\n", 1, 6, 'quote it: "`f`"'),
    (MAP + "over: [1, 2\n", 2, 7, ""),
    ("map: 'abc\nover: 3", 1, 6, ""),
    (MAP + "over: [1, 2]\nretries:2\n", 3, 1, "retries: 2"),
    ("map:str\nover: [1]\n", 1, 1, "space after the colon: map: str"),
    (MAP + "over: {glob: [%d]}\n", 2, 15, 'quote it: "%d"'),
    ("cluster:\n  engines: 2\n launcher: x\n", 3, 2, "indent it as much"),
    ('map: "C:\\path"\nover: [1]\n', 1, None, "in 'C:\\path'"),
    ("map:\n\tf\n", 2, 1, "spaces"),
    ("map: math:sqrt\nover: {range: 3}\n\tretries: 2\n", 3, 1, "spaces"),
]


@pytest.mark.parametrize("loader", [FAST, yaml.SafeLoader], ids=["libyaml", "pure"])
@pytest.mark.parametrize(("text", "line", "column", "hint"), TRAPS)
def test_the_traps_of_yaml_get_a_hint(
    text: str, line: int, column: int | None, hint: str, loader: type
) -> None:
    with pytest.raises(SpecError) as caught:
        compose(Text("spec.yaml", text), loader)
    (problem,) = caught.value.problems
    assert problem.line == line
    assert column is None or problem.column == column
    assert hint in (problem.hint or "")
    assert problem.source == text.split("\n")[line - 1]


SYNTAX = [
    (b"a: \xff\n", 1, 4, "UTF-8"),
    (b"map: f\nx: \x00\n", 2, 4, "U+0000"),
    (b"map: f\nmap: g\n", 2, 1, "twice, first in line 1"),
    (b"map: !!python/object:os.system x\n", 1, 6, "!!python/object:os.system"),
    (b"map: !mine x\n", 1, 6, "!mine"),
    (MAP.encode() + b"over: [!!int x]\n", 2, 8, "!!int"),
    (MAP.encode() + b"over: [" + b"1" * 5000 + b"]\n", 2, 8, "5,000 digits"),
    (MAP.encode() + b"over: [1e999]\n", 2, 8, "too large"),
    (MAP.encode() + b"over: " + b"[" * 5000, 2, None, "nested"),
    (b"over: " + b"{a: " * 100_000, 1, None, "nested"),
    (MAP.encode() + b"over: &a [*a]\n", 2, 11, "inside of what it stands for"),
    (b"map: f\n---\nmap: g\n", 2, 1, "second document"),
    (b"{a: 1}: 2\n", 1, 1, "cannot be a key"),
    (b"x: &x {retries: 1}\njobs: [{<<: *x}]\n", 2, 9, "merge key"),
    (b"", 1, 1, "empty"),
    (b"# only a comment\n", 1, 1, "empty"),
    (b"just text\n", 1, 1, "a spec is a map"),
    (b"- a\n", 1, 1, "a spec is a map"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), SYNTAX)
def test_what_is_no_spec_at_all(
    tmp_path: Path, text: bytes, line: int, column: int | None, message: str
) -> None:
    (problem,) = problems_of(tmp_path, text)
    assert message in problem.message
    assert problem.line == line
    assert column is None or problem.column == column


def test_an_alias_bomb_goes_off_nowhere(tmp_path: Path) -> None:
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    (problem,) = problems_of(tmp_path, "\n".join(rows))
    assert "aliases" in problem.message


def test_a_few_aliases_are_welcome(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(MAP + "over: [&a {x: 1}, *a]\nunpack: kwargs\n")
    assert load(str(path)).jobs[0].over.input.items == [{"x": 1}, {"x": 1}]  # type: ignore[union-attr]


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(SpecError) as caught:
        load(str(path))
    (problem,) = caught.value.problems
    assert f"{LARGEST // 1_000_000} MB" in problem.message
    assert "over:" in (problem.hint or "")


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(MAP)
    with pytest.raises(SpecError) as caught:
        load(str(tmp_path / "jbo.yaml"))
    assert "No such file" in caught.value.problems[0].message
    assert "job.yaml" in (caught.value.problems[0].hint or "")
    with pytest.raises(SpecError) as caught:
        load(str(tmp_path))
    assert "directory" in caught.value.problems[0].message
    assert "job.yaml" in (caught.value.problems[0].hint or "")
    with pytest.raises(SpecError) as caught:
        load("")
    assert "empty name" in caught.value.problems[0].message


NO_VALUE = """\
jobs:
- {name: a, map: f:f, over: [1]}
- {name: b, apply: f:f, args: ["${jobs.a.value}"]}
"""
PUSHED = "setup: {{push: {{k: {}}}}}\njobs: [{{name: a, apply: f:f}}]\n"
SHAPE = [
    (MAP + "over: [1]\nretires: 2\n", 3, 1, "unknown key 'retires'", "'retries'"),
    ("mpa: f\nover: [1]\n", 1, 1, "unknown key 'mpa'", "'map'"),
    # What a spec knows of itself is no key of it.
    (MAP + "over: [1]\nfile: x\n", 3, 1, "unknown key 'file'", ""),
    (MAP + "over: [1]\nfolder: x\n", 3, 1, "unknown key 'folder'", ""),
    (MAP + "over: [1]\nplaces: x\n", 3, 1, "unknown key 'places'", ""),
    (MAP + "over: {rnage: 2}\n", 2, 8, "unknown key 'rnage'", "'range'"),
    (MAP + "over: 3\n", 2, 7, "over should be a list of items", ""),
    (MAP + "over: {range: 3, list: [1]}\n", 2, 7, "is needed, list and range are given", ""),
    (MAP + "over: {where: x}\n", 2, 7, "is needed, none is given", ""),
    (MAP + "over: {range: '${params.n}'}\nparams: {n: null}\n", 2, 7, "is needed, range is null", ""),
    (MAP + "over: [1]\nchunksize: two\n", 3, 12, "a whole number or auto, not the text 'two'", ""),
    (MAP + "over: [1]\nchunksize: 0\n", 3, 12, "at least 1", ""),
    (MAP + "over: [1]\nchunksize: 9007199254740992\n", 3, 12, "at most 9007199254740991", ""),
    (MAP + "over: [1]\nretries: 9007199254740992\n", 3, 10, "at most 9007199254740991", ""),
    (MAP + "over: [1]\nhalt: son\n", 3, 7, "not the text 'son'", "'soon'"),
    (MAP + "over: [1]\ntimeout: soon\n", 3, 10, "not a duration", ""),
    (MAP + "over: [1]\nmax_failures: 300%\n", 3, 15, "percentage", ""),
    (MAP + "over: [1]\nordered: yes\n", 3, 10, "true or false", ""),
    (MAP + "over: [1]\ntargets: [a]\n", 3, 11, "a whole number", ""),
    ("map: {x}\nover: [1]\n", 1, 6, "map should be text", '"{x}"'),
    ("command: [wc, {}]\nover: [1]\n", 1, 15, "text, not an empty map", '"{}"'),
    (MAP + "over: [1]\ncluster: {env: {A: true}}\n", 3, 20, "text, not true", 'quote it: "true"'),
    (MAP + "over: [1]\nversion: 2\n", 3, 10, "version should be 1", ""),
    (MAP + "over: [1]\nsetup:path\n", 3, 1, "", "space after the colon"),
    (MAP + "over: [1]\nsetup: a:b\n", 3, 8, "a map", "space after the colon"),
    ("map: \"${ref.f}\"\nover: [1]\n", 1, 6, "must be known before the run", "args"),
    (MAP, 1, 1, "the key 'over' is missing", "over:"),
    ("over: [1]\n", 1, 1, "needs one of map", ""),
    ("name: x\n", 1, 1, "no job", "map:"),
    (MAP + "apply: os:getpid\nover: [1]\n", 2, 1, "only one", ""),
    ("apply: os:getpid\nover: [1]\n", 2, 1, "apply has no items", "map"),
    (MAP + "over: [1]\ncwd: x\n", 3, 1, "for commands", ""),
    (MAP + "over: [1]\nengines: 4\n", 3, 1, "unknown key 'engines'", "write cluster: {engines: 4}"),
    (MAP + "over: {csv: work.py, encoding: latin-1}\n", 2, 22, "unknown key 'encoding'",
     "write {csv: {path: work.py, encoding: latin-1}}"),
    (MAP + "over: {csv: work.py}\ndecimal: ','\n", 3, 1, "unknown key 'decimal'",
     "write over: {csv: {path: work.py, decimal: \",\"}}"),
    ("jobs: [{name: a, map: abs, over: {csv: {path: work.py}}, header: [a]}]\n", 1, 58,
     "unknown key 'header'", "write over: {csv: {…, header: …}}"),
    (MAP + "over: {product: {a: {zip: {b: [1]}}, t: {csv: work.py, types: {}}}}\n", 2, 56,
     "unknown key 'types'", "write {csv: {path: work.py, types: …}}"),
    (MAP + "over: '${jobs.a.vale}'\n", 2, 8, "means nothing", "write ${jobs.a.value}"),
    (MAP + "over: '${jobs.a.value.b}'\n", 2, 8, "means nothing", "write ${jobs.a.value}"),
    (MAP + "over: [1]\ncombine: len\n", 3, 1, "needs a reduce", ""),
    (MAP + 'over: [1]\nreduce: f:f\ninitial: "${jobs.a.value}"\n', 4, 10, "before the run", "push_as"),
    (MAP + 'over: [1]\nreduce: f:f\ninitial: {a: [1, "x${ref.k}"]}\n', 4, 18, "before the run", "finish"),
    (MAP + 'over: [1]\nreduce: f:f\ninitial: "${engines.count}"\n', 4, 10, "before the run", ""),
    (MAP + 'over: [1, "x${ref.k}"]\n', 2, 11, "known to engines only", 'kwargs: {k: "${ref.k}"}'),
    (MAP + 'over: {product: {a: [1], k: ["${ref.k}"]}}\n', 2, 30, "known to engines only", ""),
    (MAP + 'over: {cases: [{k: 1}, {k: ["${ref.k}"]}]}\n', 2, 29, "known to engines only", ""),
    (MAP + 'over: {python: {call: work.py:score, args: [1, "${ref.k}"]}}\n', 2, 48, "engines only", ""),
    (MAP + 'over: {range: 3, exclude: ["${ref.k}"]}\n', 2, 28, "known to engines only", ""),
    (MAP + 'over: {jsonl: work.py, where: {k: "${ref.k}"}}\n', 2, 35, "known to engines only", ""),
    ("command: echo {}\nover: ['${ref.k}']\n", 2, 8, "known to engines only", "in the command"),
    (MAP + "over: [1]\nreduce: operator:add\ncollect: list\n", 4, 1, "exclude each other", ""),
    (MAP + "over: [1]\nmax_failures: 3\n", 3, 1, "does nothing", "halt"),
    (MAP + "over: [1]\nshell: bash\n", 3, 1, "shell is for commands", ""),
    ("command: [echo, '{}']\nover: [1]\nshell: bash\n", 3, 1, "no shell reads a list", "one text"),
    ("command: echo {}\nover: [1]\nshell: nosuchsh\n", 3, 8, "no program 'nosuchsh'", "install"),
    ("command: echo {arg3}\nover: [1]\nbatch: 2\n", 1, 15, "no {arg3} in the items", "arg"),
    ("apply: 'print'\nbatch: 2\n", 2, 1, "batch is for maps", ""),
    ("cmd: echo {}\nover: [1]\n", 1, 1, "unknown key 'cmd'", "'command'"),
    ("jobs:\n- name: a\n  apply: print\n  depends_on: b\n", 4, 3, "unknown key 'depends_on'", "'needs'"),
    ("cluster: {stdin: 1}\n" + MAP + "over: [1]\n", 1, 11, "unknown key 'stdin'", "there are: "),
    ("jobs:\n  a:\n    apply: print\n", 2, 3, "should be a list, not a map", "- name: a"),
    (MAP + "over: [1]\ntimeout: 50%\n", 3, 10, "more than 100%", ""),
    (MAP + "over: [1]\ntimeout: long\n", 3, 10, "30s", ""),
    (MAP + "over: [1]\nsetup: {scatter: {x: {csv: no.csv}}}\n", 3, 28, "no.csv does not exist", ""),
    (MAP + "over: [1]\nsetup: {scatter: {x: {over: {csv: no.csv}}}}\n", 3, 35, "does not exist", ""),
    (MAP + "over: [1]\nsetup: {scatter: {x: {rnge: 3}}}\n", 3, 23, "unknown key 'rnge'", "'range'"),
    (MAP + "over: [1]\nsetup: {scatter: {x: {stdin: lines}}}\n", 3, 22, "can be read once", "in a file"),
    (MAP + "over: [1]\nsetup: {scatter: {x: {blocks: stdin}}}\n", 3, 22, "can be read once", "in a file"),
    (MAP + "over: [1]\nsetup: {scatter: {x: {python: os:listdir}}}\n", 3, 22, "may yield other", "file"),
    (MAP + "over: [1]\nsetup: {scatter: {x: {zip: {a: {from: j}}}}}\n", 3, 22, "must be known", "push_as"),
    (MAP + "over: [1]\nhalt: {how: now}\n", 3, 7, "halt: needs failed: or ok:", ""),
    (MAP + "over: [1]\nhalt: {ok: 1}\nmax_failures: 3\n", 4, 1, "halt says itself", "leave"),
    (MAP + "over: [1]\npush_as: a b\n", 3, 10, "not a Python name", ""),
    (MAP + "over: {product: {}}\n", 2, 17, "at least one factor", ""),
    (MAP + "over: {lines: none.txt}\n", 2, 15, "does not exist", ""),
    (MAP + "over: {csv: {path: none.csv}}\n", 2, 20, "does not exist", ""),
    (MAP + "over: {python: gen}\n", 2, 16, "generator's name", ""),
    (MAP + 'over: {python: "lambda: [1]"}\n', 2, 16, "generator's name", "module:generator"),
    (MAP + "over: {python: none.py:f}\n", 2, 16, "no file none.py", ""),
    (MAP + "over: {python: {call: work.py:scroe}}\n", 2, 23, "has no 'scroe'", "'score'"),
    (MAP + "over: {csv: .}\n", 2, 13, ". is a folder", 'glob: "./*"'),
    (MAP + "over: {jsonl: {path: none}}\n", 2, 22, "does not exist", ""),
    (MAP + "over: {parquet: {path: work.py, pth: x}}\n", 2, 33, "unknown key 'pth'", "'path'"),
    (MAP + "over: {csv: {path: work.py, header: []}}\n", 2, 37, "a list with something in it", ""),
    (MAP + "over: {glob: w*, exclude: [x, '*.md']}\n", 2, 31, "no file's path", "exclude: […]"),
    (MAP + 'over: [1]\nargs: ["${ref.nonex}"]\n', 3, 7, "no 'nonex' on the engines", "setup"),
    ("command: echo '{c}'\nover: {product: {a: [1], b: {cases: [{c: 1}]}}}\n", 1, 16,
     "inside single quotes", ""),
    (MAP + "over: {zip: {a: {stdin: lines}, b: {stdin: nul}}}\n", 2, 37, "once only", ""),
    (MAP + "over: [1]\noutput: [a.xls]\n", 3, 10, ".xls", ".jsonl"),
    (MAP + "over: [1]\noutput: [{path: a.csv, job: b}]\n", 3, 29, "no job 'b'", ""),
    (MAP + "over: [1]\ncluster: {options: {A.b: 1}}\n", 3, 11, "embedded has no options", "slurm"),
    (MAP + "over: [1]\ncluster: {launcher: slurm, options: {b: 1}}\n", 3, 38, "'b' is no trait", "."),
    (MAP + "over: [1]\ncluster: {profile: x, launcher: ssh}\n", 3, 23, "no effect", "profile"),
    (MAP + "over: [1]\ncluster: {cluster_id: x, env: {A: b}}\n", 3, 26, "env has no effect", ""),
    (MAP + "over: [1]\ncluster: {profile: x, connection_file: y}\n", 3, 11, "already says", ""),
    (MAP + "over: [1]\ncluster: {engines: 2, min_engines: 3}\n", 3, 36, "min_engines", ""),
    (MAP + "over: [1]\ncluster: {engines: 2}\ntargets: [2]\n", 4, 11, "no engine 2", ""),
    (MAP + "over: [1]\nsetup: {imports: [import os]}\n", 3, 19, "not an import", "math"),
    (MAP + "over: [1]\nsetup: {push: {a b: 1}}\n", 3, 16, "not a Python name", ""),
    (MAP + "over: [1]\nsetup: {path: [nowhere]}\n", 3, 16, "no folder nowhere", ""),
    (MAP + "over: [1]\nsetup: {files: [nowhere]}\n", 3, 17, "no file nowhere", ""),
    (MAP + "over: [1]\nsetup:\n  run: |\n    a = 1\n    b = = 2\n", 6, 9, "not Python", ""),
    ('map: "lambda x: x +"\nover: [1]\n', 1, None, "not a function", "module:name"),
    ("map: [1\n", 1, 6, "never closed", ""),
    ('map: "[1]"\nover: [1]\n', 1, 7, "cannot be called", ""),
    ("map: math.sqrt\nover: [1]\n", 1, 6, "no 'math' on the engines", "math:sqrt"),
    ("map: sqr\nover: [1]\nsetup: {push: {sqrt: 1}}\n", 1, 6, "no 'sqr'", "'sqrt'"),
    ("map: none.py:f\nover: [1]\n", 1, 6, "no file none.py", ""),
    ("map: side.py\nover: [1]\n", 1, 6, "no 'side' on the engines", "side.py:NAME"),
    ("map: work.py:scroe\nover: [1]\n", 1, 6, "has no 'scroe'", "'score'"),
    ("map: bad.py:f\nover: [1]\n", 1, 6, "bad.py:2", ""),
    ("command: echo '{}'\nover: [1]\n", 1, 16, "inside single quotes", "leave the quotes out"),
    ("command: |\n  echo \\\n   \"{}\"\nover: [1]\n", 3, 5, "inside double quotes", ""),
    ("command: \"\"\nover: [1]\n", 1, 10, "empty", ""),
    ('command: "echo ${HOME} {}"\nover: [1]\n', 1, 16, "${HOME} means nothing", "${env.HOME}"),
    (MAP + 'over: ["${env.NOWHERE}"]\n', 2, 9, "no NOWHERE", ":-"),
    (MAP + 'over: ["${params.n}"]\n', 2, 9, "no parameter 'n'", "params"),
    ('params: {n: 1}\nmap: f:f\nover: ["${params.m}"]\n', 3, 9, "no parameter 'm'", "there are: n"),
    (MAP + 'params: {a: "${params.b}", b: "${params.a}"}\nover: [1]\n', 2, None, "ring", ""),
    (MAP + 'over: ["a ${params.n"]\n', 2, 11, "not closed", "$${"),
    (MAP + 'over: ["${engines.hosts}"]\n', 2, 9, "means nothing", "slots"),
    (MAP + 'over: ["${ref.a b}"]\n', 2, 9, "not a name", ""),
    (MAP + 'params: {l: [1]}\nover: ["a${params.l}"]\n', 3, 10, "is a list", ""),
    (MAP + 'params: {l: "${ref.a}"}\nover: [1]\n', 2, 13, "not known before the run", ""),
    ("jobs:\n- {name: a b, apply: os:getpid}\n", 2, 10, "not a name", ""),
    ("jobs:\n- {name: a, apply: f:f}\n- {name: a, apply: f:f}\n", 3, 10, "a second job 'a'", ""),
    ("jobs:\n- {apply: f:f}\n", 2, 3, "needs the key 'name'", ""),
    (MAP + "over: {range: {}}\n", 2, 15, "needs the key 'numbers'", "range: 100, [start, stop] or"),
    ("jobs:\n- {name: a, apply: f:f, needs: [b]}\n- {name: b, apply: f:f}\n", 2, 33, "later", "up"),
    ("jobs:\n- {name: a, map: f:f, over: {from: b}}\n", 2, 36, "no job 'b'", ""),
    ("jobs:\n- {name: a, map: f:f, over: {from: a}}\n", 2, 36, "on itself", ""),
    (NO_VALUE, 3, 31, "has no value", "collect"),
    (MAP + "over: [1]\ntimeout: 0\n", 3, 10, "more than 0", ""),
    (MAP + "over: [1]\ndeadline: 0s\n", 3, 11, "more than 0", ""),
    (MAP + "over: [1]\nparams: {1: 3}\n", 3, 10, "key of params should be text", 'quote it: "1"'),
    (MAP + "over: [1]\nparams: {true: 3}\n", 3, 10, "not true", 'quote it: "true"'),
    (MAP + "over: [1]\nparams: [1]\n", 3, 9, "params should be a map, not a list", ""),
    (MAP + "over: [1]\n1: 2\n", 3, 1, "a key of the spec should be text, not the number 1", '"1"'),
    (MAP + "over: [1]\n? \n: 2\n", 3, None, "a key of the spec should be text, not nothing", ""),
    (MAP + "over: [1]\nkwargs: {1: 2}\n", 3, 10, "a key of kwargs", 'quote it: "1"'),
    (MAP + "over: [1]\nsetup: {push: {1: 2}}\n", 3, 16, "a key of push", 'quote it: "1"'),
    (MAP + "over: {zip: {1: [1]}}\n", 2, 14, "a key of zip", 'quote it: "1"'),
    # .nan is not equal to itself, for which taking it out of the map once went on for ever.
    (MAP + "over: {.nan: a}\n", 2, 8, "a key of over should be text", '"'),
    (MAP + "over: {cases: [{1: 1}]}\n", 2, 17, "a key of a part of cases", 'quote it: "1"'),
    (MAP + "over: [1]\noutput: [x.csv, ./x.csv]\n", 3, 17, "./x.csv is named twice", ""),
    ("jobs: []\n", 1, 7, "the spec has no job", "map:"),
    (MAP + "over: [1]\ncluster: {python: /no/python}\n", 3, 19, "no program /no/python", "venv"),
    (MAP + "over: [1]\ncluster: {python: pyhton99}\n", 3, 19, "no program pyhton99", ""),
    (PUSHED.format('"${jobs.a.value}"'), 1, 19, "no value yet", "push_as: k"),
    (PUSHED.format('["x${jobs.a.value}"]'), 1, 19, "no value yet", "push_as: k"),
    (PUSHED.format('"${ref.np.pi}"'), 1, 19, "no 'np' on the engines yet", "imports"),
    (MAP + 'over: [1]\nsetup: {scatter: {x: ["${jobs.a.value}"]}}\n', 3, 22, "must be known", ""),
    ("retries: 1\njobs:\n- {name: a, apply: f:f}\n", 1, 1, "belongs to a job", "defaults"),
    ("defaults: {retry: 1}\njobs:\n- {name: a, apply: f:f}\n", 1, 12, "default", "'retries'"),
    ("defaults: [1]\njobs:\n- {name: a, apply: f:f}\n", 1, 11, "a map", ""),
    (MAP + "over: [1]\nname: fit\nexpect: [ok < 1, fix.p95 > 1s]\n", 4, 18, "no job 'fix'", "'fit'"),
    (MAP + "over: [1]\nname: fit\nexpect: other.p95 > 1s\n", 4, 9, "no job 'other'", "fit"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "message", "hint"), SHAPE)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, text: str, line: int, column: int | None, message: str, hint: str
) -> None:
    (tmp_path / "work.py").write_text("def score(x):\n    return x\n")
    (tmp_path / "bad.py").write_text("def f(x):\nreturn x\n")
    (problem,) = problems_of(tmp_path, text)
    assert message in problem.message
    assert problem.line == line
    assert column is None or problem.column == column
    assert hint in (problem.hint or "")


def test_all_problems_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path,
        """\
cluster: {engines: two}
jobs:
- name: a
  map: math.sqrt
  over: {rnage: 3}
- name: b
  command: echo "{}"
  over: ["${params.x}"]
- name: a
  apply: none.py:f
  timeout: soon
""",
        params={"n": "1"},
        sets=[("jobs.c.retries", "2")],
    )
    assert [(problem.line, problem.message.split(" ")[0]) for problem in problems][2:] == [
        (1, "engines"),
        (4, "there"),
        (5, "unknown"),
        (7, "{}"),
        (8, "there"),
        (9, "a"),
        (10, "there"),
        (11, "timeout:"),
    ]
    assert [problem.file for problem in problems][:2] == [
        "--set jobs.c.retries=2",
        "-p n=1",
    ]


@pytest.mark.parametrize(
    ("path", "value", "column", "message"),
    [
        ("cluster.enginess", "3", 9, "unknown key 'enginess'"),
        ("clustr.engines", "3", 1, "unknown key 'clustr'"),
        ("jobs.a.retriess", "3", 8, "unknown key 'retriess'"),
        ("cluster.engines", "x", 1, "engines should be"),
    ],
)
def test_what_is_wrong_in_a_flag_is_pointed_at(
    tmp_path: Path, path: str, value: str, column: int, message: str
) -> None:
    jobs = "jobs: [{name: a, map: abs, over: [1]}]\n"
    (problem,) = problems_of(tmp_path, jobs, sets=[(path, value)])
    assert message in problem.message
    assert (problem.column, problem.source) == (column, value if value == "x" else f"{path}={value}")


TOGETHER = {
    'map: "lambda x: (x"\nover: [1]\nretries: -1\n': ["not a function", "retries should be"],
    "retries: -1\ncommand: wc '{}'\n": ["retries should be", "inside single quotes", "'over'"],
    MAP + "over: [1]\nsetup: {imprts: [math], push: {1x: 3}, run: 'def ('}\n": [
        "unknown key 'imprts'", "'1x' is not a Python name", "not Python",
    ],
    MAP + "over: {product: {a: {rnage: 3}, b: {lines: nosuch.txt}}}\n": ["'rnage'", "nosuch.txt"],
    """\
jobs:
- {name: a, map: f:f, over: [1], halt: son, max_failures: 1}
- {name: b, map: nosuch.py:f, over: [1]}
- {name: c, map: f:f, over: {zip: {a: [1], b: [1, 2]}}}
- {name: c, apply: f:f, ovr: [1]}
output: [a.csvv, {pth: x}, {path: b.csv, job: d}]
""": [
        "halt should be", "no file nosuch.py", "'a' has 1 items", "a second job 'c'",
        "unknown key 'ovr'", "a.csvv", "needs the key 'path'", "unknown key 'pth'", "no job 'd'",
    ],
    MAP + 'over: {range: "${params.n}"}\nchunksize: "${params.c}"\n': ["'n'", "'c'"],
    'map: "lambda x: x + ${params.n}"\nover: [1]\ncollect: lst\n': ["'n'", "collect should be"],
    MAP + "over: {lines: 3}\ncombine: len\n": ["lines should be", "combine needs a reduce"],
    MAP + "over: [1]\nreduce: 3\nfinish: len\n": ["reduce should be"],
    "map: 3\nover: [1]\ncwd: 4\n": ["map should be", "cwd should be"],
    MAP + "ovr: [1]\n": ["unknown key 'ovr'", "the key 'over' is missing"],
    "jobs:\n- {name: a, mpa: f:f, retries: -1}\n": ["unknown key 'mpa'", "retries should be"],
    "jobs:\n- {apply: f:f}\n- {apply: g}\n": ["key 'name'", "key 'name'", "no 'g' on"],
}  # fmt: skip


@pytest.mark.parametrize("text", TOGETHER)
def test_one_problem_hides_no_other_and_makes_none_up(tmp_path: Path, text: str) -> None:
    found = problems_of(tmp_path, text)
    for message in TOGETHER[text]:
        assert any(message in problem.message for problem in found), message
    assert len(found) == len(TOGETHER[text]), found


HUGE = [
    ("range: 100000000000000000000", 1, 15),
    ("linspace: [0, 1, 100000000000000000000]", 1, 18),
    ("product: {a: {range: 10000000000}, b: {range: 10000000000}}", 1, 17),
]


@pytest.mark.parametrize(("source", "line", "column"), HUGE)
def test_more_items_than_a_number_holds(tmp_path: Path, source: str, line: int, column: int) -> None:
    (problem,) = problems_of(tmp_path, f"over: {{{source}}}\nmap: f:f\n")
    assert "more items than can be numbered" in problem.message
    assert (problem.line, problem.column) == (line, column)


FLAGS: list[tuple[dict[str, str], str, str]] = [
    ({"n": "abc"}, "not the text 'abc', from ${params.n}", "-p n=abc"),
    ({"n": "3.5"}, "not the number 3.5, from ${params.n}", "-p n=3.5"),
    ({"n": "[a]"}, "a whole number, not the text 'a'", ""),
    ({}, "not the text 'five', from ${params.n}", ""),
]


@pytest.mark.parametrize(("params", "message", "hint"), FLAGS)
def test_a_value_from_elsewhere_is_shown_as_it_is(
    tmp_path: Path, params: dict[str, str], message: str, hint: str
) -> None:
    default = "5" if params else "five"
    text = f'params: {{n: {default}}}\nmap: f:f\nover: {{range: "${{params.n}}"}}\n'
    (problem,) = problems_of(tmp_path, text, params=params)
    assert message in problem.message
    assert problem.line == 3
    assert hint in (problem.hint or "")


def test_a_switch_is_true_or_false(tmp_path: Path) -> None:
    text = 'params: {flag: true}\nmap: f:f\nover: ["${params.flag}"]\n'
    (problem,) = problems_of(tmp_path, text, params={"flag": "no"})
    assert problem.message == "flag is true or false, not the text 'no'"
    assert problem.file == "-p flag=no"


@pytest.mark.parametrize(
    ("text", "path", "is_single"),
    [
        (MAP + "over: [1]\n", "nope", True),
        (MAP + "over: [1]\n", "jobs.spec.nope", True),
        (MAP + "over: [1]\nnope: 1\n", "name", True),
        ("jobs: [{map: abs, name: a, over: [1]}]\n", "nope", False),
        ("{jobs: [{map: abs, name: a, over: [1]}]}\n", "nope", False),
        ("name: x\njobs: [{map: abs, name: a, over: [1]}]\n", "nope", False),
    ],
)
def test_keys_that_there_could_be_are_those_of_the_place(
    tmp_path: Path, text: str, path: str, is_single: bool
) -> None:
    (problem,) = problems_of(tmp_path, text, sets=[(path, "x")])
    assert problem.message == "unknown key 'nope'"
    keys = (problem.hint or "").removeprefix("there are: ").split(", ")
    assert {"cluster", "setup", "params", "name"} <= set(keys)
    assert ({"map", "retries", "over", "cwd"} <= set(keys)) is is_single
    assert ("jobs" in keys) is not is_single
    assert len(keys) == len(set(keys))


def test_set_knows_the_name_of_a_single_job(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, MAP + "over: [1]\n", sets=[("jobs.NOSUCH.retries", "2")])
    assert problem.message == "there is no job 'NOSUCH'"
    assert problem.hint == "there is one: spec"
