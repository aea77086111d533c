"""What a spec can get wrong about the texts of a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from arcli.errors import Problem, SpecError
from arcli.specfile.load import load


def problems_of(folder: Path, text: str) -> list[Problem]:
    (folder / "t.csv").write_text("zz,file\n1,2\n")
    (folder / "semi.csv").write_text("\ufeffa;b\n1;2\n")
    (folder / "r.jsonl").write_text('{"a": 1}\n')
    (folder / "out").mkdir(exist_ok=True)
    (folder / "spec.yaml").write_text(text)
    try:
        load(str(folder / "spec.yaml"))
    except SpecError as error:
        return error.problems
    return []


WRONG = [
    ('command: "echo {nmae}"\nover: {zip: {name: [1]}}', 1, 16, "{nmae}", "did you mean 'name'"),
    ('command: "echo {x}"\nover: {range: 3}', 1, 16, "{x}", "{{x}} is {x} itself"),
    ('command: "echo {stem}"\nover: {linspace: [0, 1, 3]}', 1, 16, "{stem}", "{index}"),
    ('command: "echo {root}"\nover: [{a: 1}, 5, [x, y]]', 1, 16, "no {root}", "are: {a}, {}, {attempt}"),
    ('command: "echo {name}"\nover: {cases: [{a: x.t, b: y.t}]}', 1, 16, "no {name}", "|"),
    ('command: [echo, "{first} x"]\nover: [1, a]', 1, 18, "{first}", "{{first}}"),
    ('command: [echo, "{}", "{b}"]\nover: [{a: 1}]', 1, 24, "{b}", "did you mean 'a'|there are"),
    ("command: \"echo '{zz}'\"\nover: {csv: t.csv}", 1, 17, "inside single quotes", "quotes out"),
    ('command: "echo {fiel}"\nover: {csv: t.csv}', 1, 16, "{fiel}", "did you mean 'file'"),
    ("command: cat {c}\nover: {csv: {path: semi.csv, delimiter: ';'}}", 1, 14, "{c}", "{a}, {b}"),
    ('command: cat\ncommand_stdin: "{c}"\nover: {zip: {a: [1]}}', 2, 17, "{c}", "{a}"),
    ("command: cat\nenv: {X: '{c}'}\nover: {cases: [{a: 1}]}", 2, 11, "{c}", "{a}"),
    ('command: "cat $((1+{}))"\nover: [1]', 1, 20, "inside an arithmetic", "x={}"),
    ('command: "tr a-z A-Z < {} > {.}.up"\nover: [a]', 1, 29, "{.} is no", "{root}; {{.}}"),
    ('command: "mv {} \'{/.}\'"\nover: [a]', 1, 18, "{/.} is no placeholder", "quotes, write {stem}"),
    ('command: [echo, "{#}"]\nover: [a]', 1, 18, "{#} is no placeholder", "write {number}"),
    ('command: [echo, "{1}"]\nover: {cases: [{a: 1}]}', 1, 18, "{1} is no placeholder", "write {a}"),
    ('command: [echo, x, "a{my+col}"]\nover: {jsonl: r.jsonl}', 1, 22, "{my+col} is no", "{{my+col}}"),
    ('command: "echo {a b} {c}"\nover: {cases: [{a b: 1, c: 2}]}', 1, 16, "{a b} is no", "rename 'a b'"),
    ("command: \"echo '{a b}'\"\nover: {cases: [{a b: 1, c: 2}]}", 1, 17, "{a b} is no", "are: {c}, {}"),
    ('command: [echo, "{7}"]\nover: {cases: [{"7": 1, c: 2}]}', 1, 18, "{7} is no", "{c}, {}, |rename '7'"),
    ('command: "echo {x}"\nover: {cases: [{a b: 1, c: 2}]}', 1, 16, "no {x}", "there are: {c}, {}"),
    ('command: "echo {a_b}"\nover: {cases: [{a-b: 1}]}', 1, 16, "no {a_b}", "did you mean 'a-b'"),
    ('command: "echo {=s/a/b/=}"\nover: [a]', 1, 16, "{=s/a/b/=} is no placeholder", "there are"),
    ("command: cat\ncwd: '{//}'\nover: [a]", 2, 7, "{//} is no placeholder", "{parent}"),
    ("command: [nocommand, x]\nover: [1]", 1, 10, "there is no program 'nocommand' on PATH", "install"),
    ("command: nocommand {} | wc\nover: [1]", 1, 10, "there is no program 'nocommand'", ""),
    ("command: ls\ncwd: nowhere\nover: [1]", 2, 6, "there is no folder nowhere", ""),
    ("command: ls\nenv: {X: true}\nover: [1]", 2, 10, "text", "quote it"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "message", "hint"), WRONG)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, text: str, line: int, column: int, message: str, hint: str
) -> None:
    (problem,) = problems_of(tmp_path, text + "\n")
    assert (problem.line, problem.column) == (line, column), problem
    assert message in problem.message
    assert any(part in (problem.hint or "") for part in hint.split("|"))


RIGHT = [
    'command: "echo {a.stem} {stem} {index} {}"\nover: {product: {a: {glob: "*"}, q: [1]}}',
    'command: "find . -exec echo {{}} + -o \\\\{} ; echo {{x}} {}"\nover: {range: 2}',
    "command: \"awk '{print}' {} | sed s/{print $1}//\"\nover: {lines: r.jsonl}",
    'command: "echo {übung} {learning-rate} {2x}"\nover: {cases: [{übung: 1, learning-rate: 3, 2x: 4}]}',
    "command: \"echo 's/{a-z}/{2}/' {a-b}\"\nover: {cases: [{a-b: 1, '2': 3}]}",
    'command: "echo {stem}"\nover: [1, {a: x.t, b: 1}]',
    'command: [echo, "{my-col}", "{my-col.stem}"]\nover: {jsonl: r.jsonl}',
    'command: "echo {whatever}"\nover: {jsonl: r.jsonl}',
    'command: [head, -c, 10, 1.5, "{}"]\nenv: {N: 5, M: "{}"}\nover: [a]',
    'command: "ls"\ncwd: out\nover: [1]',
    "command: nocommand {}\nover: [1]\nenv: {PATH: /opt/bin}",
    "command: [nocommand, x]\nover: [1]\ncluster: {launcher: slurm}",
    'command: "export X=1; nocommand"\nover: [1]',
    'command: "X=1 nocommand"\nover: [1]',
    "command: ./nocommand {}\nover: [1]",
    'command: "f() { ls; }; f"\nover: [1]',
    'command: [grep, -E, "a{{2}}", "{}"]\nover: [a]',
    "command: \"grep -E 'a{2}' {} && { ls; } && echo {1..3} {a,b} {{.}} $${X}\"\nover: [a]",
    'command: [jq, "{a: .b}", "{a:.b}", "{\\"x\\":1}", "{}"]\nover: [a]',
    'command: "ls"\ncwd: "{parent}"\nover: {glob: "*.csv"}',
    'command: "echo $((1<<3)) {}"\nover: [1]',
    "command: |\n  cat <<EOF > {}\n  text\n  EOF\n  echo {}\nover: [1]",
    "command: |\n  # it's ${engines.count}\n  echo '$${engines.count}' ${engines.count}\nover: [1]",
    'params: {p: 3}\ncommand: [echo, "${params.p}", "x${params.p}"]\nover: [1]',
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_right(tmp_path: Path, text: str) -> None:
    assert problems_of(tmp_path, text + "\n") == []


@pytest.mark.parametrize(
    ("command", "column", "inside"),
    [
        ("echo {} 'it is ${jobs.e.value}'", 27, "${jobs.e.value} stands inside single quotes"),
        ('echo "${engines.count}" ${jobs.e.value}', 18, "${engines.count} stands inside double quotes"),
        ("echo $((1 + ${jobs.e.value}))", 24, "${jobs.e.value} stands inside an arithmetic"),
        ("echo \\${jobs.e.value}", 18, "${jobs.e.value} stands inside a backslash"),
    ],
)
def test_late_values_are_filled_in_outside_of_quotes(
    tmp_path: Path, command: str, column: int, inside: str
) -> None:
    first = "{name: e, map: 'math:sqrt', over: [1], collect: list}"
    (problem,) = problems_of(tmp_path, f"jobs:\n- {first}\n- name: c\n  over: [1]\n  command: {command}\n")
    assert (problem.line, problem.column) == (5, column)
    assert problem.message.startswith(inside)


def test_late_values_in_texts_do_not_move_the_places_of_others(tmp_path: Path) -> None:
    text = """\
jobs:
- {name: a, map: math:sqrt, over: [1], collect: list}
- {name: b, command: "echo ${jobs.a.value} {x}", over: [1]}
- {name: c, command: "echo ${jobs.b.value}", over: [1]}
"""
    first, second = problems_of(tmp_path, text)
    assert (first.line, first.column) == (3, 44)
    assert (second.line, second.message) == (4, "job 'b' has no value")
