"""Commands as items: their arguments, their output, their end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runs import Run

NASTY = [
    "$(touch pwned)",
    "a'b",
    'a"b',
    "two\nlines",
    "`id`",
    "-n",
    "a b",
    "*",
    "\\",
    ";",
    "ü",
    "~",
]
SPEC = """\
jobs:
- {name: shell, command: "printf %s {} | cat", over: {jsonl: nasty.jsonl}, parse: lines}
- {name: argv, command: [printf, "%s|%s", "{}", "<{index}>"], over: {jsonl: nasty.jsonl}}
- {name: names, command: "echo {a} {b} {index}", over: {product: {a: [1, 2], b: ["x y"]}}}
- {name: parts, command: [echo, "{stem}", "{suffix}", "{parent}", "{name}"], over: [d/e.tar.gz]}
- {name: columns, command: "echo {city}: {people}", over: {csv: cities.csv}}
- {name: not_ours, command: "echo {} | awk '{print $1}' | sed 's/{x}//'", over: ["a b"]}
- {name: fails, command: "echo out; echo err >&2; exit 3", over: [1]}
- {name: fine, command: "exit 2", over: [1], ok_exit: [0, 2]}
- {name: no_program, command: [no-such-program-anywhere], over: [1], env: {PATH: /nowhere}}
- {name: as_json, command: "echo {}", over: ['{"a": [1, 2]}'], parse: json}
- {name: as_float, command: "echo {}", over: [" 1.5 "], parse: float}
- {name: unparsed, command: "echo {}", over: [nonsense], parse: json}
- {name: fed, command: "tr a-z A-Z", command_stdin: "<{}>", over: [abc]}
- {name: placed, command: "pwd; echo $WHO $PLACE", cwd: sub, env: {WHO: me}, over: [1]}
- {name: binary, command: "printf '\\\\377\\\\000x'", over: [1]}
- {name: killed, command: "kill -9 $$", over: [1]}
- {name: slow, command: "sleep 60 & sleep 60", over: [1], timeout: 300ms}
- {name: busy, command: "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done", over: [1]}
- {name: large, command: [python3, -c, "x = b'x' * 300_000_000"], over: [1]}
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("commands")
    (folder / "sub").mkdir()
    (folder / "nasty.jsonl").write_text("".join(json.dumps(text) + "\n" for text in NASTY))
    (folder / "cities.csv").write_text("city,people\nSt. Gallen,76000\n")
    (folder / "spec.yaml").write_text(SPEC)
    run = Run(folder, ["run", "spec.yaml", "-n", "2", "--format", "json"])
    assert run.wait() == 1
    assert not (folder / "pwned").exists()
    return {job["name"]: job for job in json.loads(run.out.read_text())["jobs"]}


def outputs(job: dict[str, Any]) -> list[Any]:
    return [item["value"]["stdout"] for item in job["items"]]


def test_values_arrive_as_they_are_in_a_shell(jobs: dict[str, Any]) -> None:
    assert [item["value"] for item in jobs["shell"]["items"]] == [text.split("\n") for text in NASTY]


def test_values_arrive_as_they_are_without_a_shell(jobs: dict[str, Any]) -> None:
    expected = [f"{text}|<{index}>" for index, text in enumerate(NASTY)]
    assert outputs(jobs["argv"]) == expected


EXPECTED = {
    "names": ["1 x y 0\n", "2 x y 1\n"],
    "parts": ["e.tar .gz d e.tar.gz\n"],
    "columns": ["St. Gallen: 76000\n"],
    "not_ours": ["a\n"],
    "fed": ["<ABC>"],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_printed_by(jobs: dict[str, Any], name: str) -> None:
    assert outputs(jobs[name]) == EXPECTED[name]


def test_an_exit_status_that_is_not_ok_is_an_error_with_all_that_was_printed(
    jobs: dict[str, Any],
) -> None:
    (item,) = jobs["fails"]["items"]
    assert item["status"] == "error"
    assert item["value"] == {"exit": 3, "stdout": "out\n", "stderr": "err\n"}
    assert "3" in item["reason"]


def test_an_exit_status_may_be_declared_ok(jobs: dict[str, Any]) -> None:
    (item,) = jobs["fine"]["items"]
    assert (item["status"], item["value"]["exit"]) == ("ok", 2)


def test_a_program_that_is_not_there_is_named(jobs: dict[str, Any]) -> None:
    (item,) = jobs["no_program"]["items"]
    assert item["status"] == "error"
    assert "no-such-program-anywhere" in item["reason"]


def test_a_name_that_one_item_lacks_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text('command: "echo {k}"\nover: {jsonl: x.jsonl}\n')
    (tmp_path / "x.jsonl").write_text('{"k": 1}\n{"m": 2}\n')
    run = Run(tmp_path, ["run", "spec.yaml", "--inline", "--format", "jsonl"])
    assert run.wait() == 1
    _, other = map(json.loads, run.out.read_text().splitlines())
    assert (other["error"]["type"], other["error"]["traceback"]) == ("BadTemplate", "")
    assert other["reason"].startswith("there is no {k} in this item, which has {}")


def test_output_is_parsed(jobs: dict[str, Any]) -> None:
    assert jobs["as_json"]["items"][0]["value"] == {"a": [1, 2]}
    assert jobs["as_float"]["items"][0]["value"] == 1.5
    (item,) = jobs["unparsed"]["items"]
    assert item["status"] == "error"
    assert "nonsense" in json.dumps(item)


def test_folder_and_environment(jobs: dict[str, Any]) -> None:
    (printed,) = outputs(jobs["placed"])
    assert printed.splitlines()[0].endswith("/sub")
    assert printed.splitlines()[1] == "me"


def test_binary_output_is_kept(jobs: dict[str, Any]) -> None:
    (item,) = jobs["binary"]["items"]
    assert item["status"] == "ok"
    assert item["value"]["stdout"].endswith("\x00x")


def test_a_signal_is_named(jobs: dict[str, Any]) -> None:
    (item,) = jobs["killed"]["items"]
    assert item["status"] == "error"
    assert "SIGKILL" in item["reason"]


def test_a_timeout_ends_the_whole_group(jobs: dict[str, Any]) -> None:
    (item,) = jobs["slow"]["items"]
    assert item["status"] == "timeout"
    assert item["seconds"] < 30


def test_what_the_child_used_is_in_the_record(jobs: dict[str, Any]) -> None:
    (item,) = jobs["busy"]["items"]
    assert item["usage"]["user"] + item["usage"]["system"] > 0
    (item,) = jobs["large"]["items"]
    assert 300_000_000 < item["usage"]["peak_memory"] < 400_000_000


FOLDERS = """\
jobs:
- {name: own, command: "pwd; cat {name}", cwd: "{parent}", over: {glob: "sub/*.txt"}}
- {name: fixed, command: "pwd; cat {path}", cwd: out, over: {glob: "sub/*.txt"}}
- {name: made, command: "pwd", cwd: "out/{stem}", over: {glob: "sub/*.txt"}}
- {name: given, command: "pwd", cwd: "{dir}", over: {cases: [{dir: 'PLACE/out'}]}}
"""


def test_a_folder_is_the_items_or_the_specs(tmp_path: Path) -> None:
    spec, elsewhere = tmp_path / "a {x}", tmp_path / "elsewhere"
    for folder in (spec / "sub", spec / "out" / "x", elsewhere):
        folder.mkdir(parents=True)
    (spec / "sub" / "x.txt").write_text("text")
    (spec / "spec.yaml").write_text(FOLDERS.replace("PLACE", str(spec)))
    for where in (spec, elsewhere):
        run = Run(where, ["run", str(spec / "spec.yaml"), "-n", "1", "--format", "json"])
        assert run.wait() == 0, run.said()
        jobs = {job["name"]: job for job in json.loads(run.out.read_text())["jobs"]}
        assert outputs(jobs["own"]) == [f"{spec}/sub\ntext"]
        assert outputs(jobs["fixed"]) == [f"{spec}/out\ntext"]
        assert outputs(jobs["made"]) == [f"{spec}/out/x\n"]
        assert outputs(jobs["given"]) == [f"{spec}/out\n"]


def test_a_column_in_quotes_ends_the_job_and_a_name_that_is_missing_only_its_item(
    tmp_path: Path,
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1, "x": 2}\n{"b": 2}\n')
    (tmp_path / "spec.yaml").write_text("""\
jobs:
- {name: quoted, command: "echo '{a}'", over: {jsonl: rows.jsonl}}
- {name: missing, command: "echo {x}", over: {jsonl: rows.jsonl}}
""")
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "1", "--format", "json"])
    assert run.wait() == 2
    quoted, missing = json.loads(run.out.read_text())["jobs"]
    assert (quoted["ended"], quoted["items"]) == ("input error", [])
    assert "{a} stands inside single quotes" in run.said()
    assert [item["status"] for item in missing["items"]] == ["ok", "error"]
    assert (
        "there is no {x} in this item, which has {}, {index}, {number}, {attempt}, {slot}, {b}"
        in missing["items"][1]["reason"]
    )
