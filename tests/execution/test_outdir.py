"""A folder for each item: whole or not there, its artifacts in the record, never two items in one."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import signal
import tempfile
from pathlib import Path, PurePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import Run, finish, running, statuses, wait_until

from arcli.engine.program import matching
from arcli.inputs.glob import Glob, paths_of, pattern_steps
from arcli.placeholders import compiled
from arcli.plan.outdirs import Folders

COMMAND = """
command: "cd {outdir} && echo {lr} > log.txt && echo weights > model.pt && test {lr} != 0.3"
over: {product: {lr: [0.1, 0.2, 0.3], seed: [1]}}
outdir: "out/{lr}/{seed}"
artifacts: ["*.txt", {path: "**/*.pt", required: true}]
"""


@pytest.fixture(params=[(), ("--inline",)], ids=["engines", "inline"])
def where(request: pytest.FixtureRequest) -> tuple[str, ...]:
    words: tuple[str, ...] = request.param
    return words


def names(folder: Path) -> set[str]:
    """The paths of what is in a folder, without arcli's own marks."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != ".arcli-item.json"}


def test_a_folder_that_is_there_is_whole(tmp_path: Path, where: tuple[str, ...]) -> None:
    code, records = finish(tmp_path, COMMAND, *where)
    assert code == 1
    assert statuses(records) == {"ok": 2, "error": 1}
    folders = {"0.1", "0.1/1", "0.2", "0.2/1", "0.3", "0.3/1.failed"}
    files = {
        f"{name}/{file}" for name in ("0.1/1", "0.2/1", "0.3/1.failed") for file in ("log.txt", "model.pt")
    }
    assert names(tmp_path / "out") == folders | files
    assert records[0]["outdir"] == str(tmp_path / "out" / "0.1" / "1")
    assert records[2]["outdir"] == str(tmp_path / "out" / "0.3" / "1.failed")
    digest = hashlib.sha256(b"0.1\n").hexdigest()
    log, model = records[0]["artifacts"]
    assert log == {"path": "log.txt", "size": 4, "sha256": digest}
    assert (model["path"], model["size"]) == ("model.pt", 8)


def test_functions_have_it_in_the_environment(tmp_path: Path, where: tuple[str, ...]) -> None:
    spec = """
setup: {imports: [os, pathlib]}
map: "lambda x: pathlib.Path(os.environ['ARCLI_OUTDIR'], 'x').write_text(str(x))"
over: [1, 2]
outdir: true
"""
    code, records = finish(tmp_path, spec, *where)
    assert code == 0
    for record in records:
        assert Path(record["outdir"], "x").read_text() == str(record["input"])
        assert ".arcli/runs" in record["outdir"]
        assert record["artifacts"] == []


def test_no_key_of_an_item_leads_out_of_the_runs_folder(tmp_path: Path, where: tuple[str, ...]) -> None:
    spec = "map: 'lambda index: index'\nover: {cases: [{index: 7}, {index: ../../out}, {index: 7}]}\n"
    code, records = finish(tmp_path, spec + "outdir: true", *where)
    assert code == 0
    (folder,) = (tmp_path / ".arcli" / "runs").glob("*/outdir/*")
    assert [record["outdir"] for record in records] == [str(folder / name) for name in "012"]


def test_a_number_tells_items_apart_where_no_key_hides_it(tmp_path: Path) -> None:
    spec = "map: 'lambda index: index'\nover: {cases: [{index: 7}, {index: 7}]}\noutdir: 'o/{number}'\n"
    code, records = finish(tmp_path, spec, "--inline")
    assert (code, [Path(record["outdir"]).name for record in records]) == (0, ["1", "2"])


def test_a_batch_has_one_folder(tmp_path: Path, where: tuple[str, ...]) -> None:
    spec = "command: 'echo {arg1} {arg2} > {outdir}/o'\nover: [a, b, c]\nbatch: 2\noutdir: 'o/{arg1}'\n"
    assert finish(tmp_path, spec, *where)[0] == 0
    assert {path.parent.name: path.read_text() for path in tmp_path.glob("o/*/o")} == {
        "a": "a b\n",
        "c": "c \n",
    }
    with running(tmp_path, spec.replace("arg1}'", "arg2}'").replace("c]", "c, d, b]"), *where) as run:
        assert run.wait() == 2
        assert "items 0 and 2 have one folder" in run.said()


def test_an_item_is_shown_with_the_folder_that_it_had(tmp_path: Path) -> None:
    spec = "command: [test, '{attempt} {} {outdir}', '=', '2 a WORKING/o/a.partial']\nbatch: 1\n"
    spec = spec.replace("WORKING", str(tmp_path)) + "over: [a, b.failed]\noutdir: 'o/{arg1}'\nretries: 1\n"
    assert statuses(finish(tmp_path, spec, "--inline")[1]) == {"ok": 1, "error": 1}
    show = Run(tmp_path, ["show", "0", "1"])
    assert show.wait() == 0
    for item in ("a", "b.failed"):
        assert f"test '2 {item} {tmp_path}/o/{item}.partial' = " in show.out.read_text()


def test_it_can_be_the_working_folder(tmp_path: Path) -> None:
    spec = 'command: "echo {} > here"\nover: [a, b]\noutdir: "o/{}"\ncwd: "{outdir}"'
    assert finish(tmp_path, spec, "--inline")[0] == 0
    assert (tmp_path / "o" / "b" / "here").read_text() == "b\n"


def test_an_artifact_that_is_missing_is_an_error_of_the_item(tmp_path: Path) -> None:
    spec = 'command: "test {} = b || touch {outdir}/m.pt"\nover: [a, b]\noutdir: "o/{}"\n'
    code, records = finish(tmp_path, spec + "artifacts: [{path: m.pt, required: true}]", "--inline")
    assert (code, statuses(records)) == (1, {"ok": 1, "error": 1})
    assert records[1]["error"]["type"] == "ArtifactMissing"
    assert names(tmp_path / "o") == {"a", "a/m.pt", "b.failed"}


def test_an_artifact_is_missed_whatever_the_value_is(tmp_path: Path) -> None:
    spec = 'map: "lambda x: x and object()"\nover: [0, 1]\noutdir: "o/{}"\nchunksize: 2\n'
    _, records = finish(tmp_path, spec + "artifacts: [{path: m.pt, required: true}]", "--inline")
    assert [record["reason"] for record in records] == ["it did not make m.pt"] * 2
    assert [record["exact"] for record in records] == [True, False]
    assert "object object" in records[1]["value"]["repr"]


def test_braces_are_several_artifacts(tmp_path: Path) -> None:
    spec = "command: 'cd {outdir}; touch a.png b.csv {}'\nover: [c.md, d.txt]\noutdir: true\n"
    spec += 'artifacts: ["*.{png,csv}", {path: "{a.png,c.md}", required: true}]'
    code, records = finish(tmp_path, spec, "--inline")
    assert code == 1
    assert [file["path"] for file in records[0]["artifacts"]] == ["a.png", "b.csv", "c.md"]
    assert records[1]["error"]["message"] == "it did not make c.md"


def test_a_retry_begins_with_an_empty_folder(tmp_path: Path) -> None:
    script = "ls {outdir} | wc -l; touch {outdir}/x; test -e second || ! touch second"
    spec = f'command: "{script}"\nover: [a]\noutdir: "o/{{}}"\nretries: 1'
    code, records = finish(tmp_path, spec, "--inline")
    assert (code, records[0]["attempt"], records[0]["stdout"].strip()) == (0, 2, "0")
    assert names(tmp_path / "o") == {"a", "a/x"}


def test_an_engine_that_dies_leaves_nothing_whole(tmp_path: Path) -> None:
    script = "import os, pathlib\ndef f(x):\n    d = pathlib.Path(os.environ['ARCLI_OUTDIR'])\n"
    script += "    first = not list(d.iterdir()) and not os.path.exists('died')\n    (d / 'x').touch()\n"
    script += "    if first:\n        open('died', 'w').close()\n        os.kill(os.getpid(), 9)\n"
    (tmp_path / "f.py").write_text(script)
    code, records = finish(tmp_path, 'map: f.py:f\nover: [1]\noutdir: "o/{}"')
    assert (code, records[0]["status"]) == (0, "ok")
    assert names(tmp_path / "o") == {"1", "1/x"}


def test_an_interrupted_run_leaves_no_whole_folder_behind(tmp_path: Path) -> None:
    spec = 'command: "touch {outdir}/begun; sleep 60"\nover: [a]\noutdir: "o/{}"'
    with running(tmp_path, spec) as run:
        wait_until(lambda: list(tmp_path.glob("o/*/begun")))
        run.signal(signal.SIGINT)
        # Two that come before the first one is handled are one.
        wait_until(lambda: "once more" in run.said(), run.said)
        run.signal(signal.SIGINT)
        assert run.wait() == 130
    assert "a" not in names(tmp_path / "o")


def test_no_two_runs_work_in_one_folder(tmp_path: Path, where: tuple[str, ...]) -> None:
    spec = "command: 'cd {outdir}; touch begun; while ! test -e ../../go; do sleep 0.1; done; ls > seen'\n"
    spec += "over: [a]\noutdir: 'o/{}'\n"
    with running(tmp_path, spec, *where) as first:
        wait_until((tmp_path / "o" / "a.partial" / "begun").exists, first.said)
        code, (record,) = finish(tmp_path, spec, *where)
        assert (code, record["error"]["type"]) == (1, "FolderTaken")
        assert "works in" in record["error"]["message"]
        (tmp_path / "go").touch()
        assert first.wait() == 0, first.said()
    assert (tmp_path / "o" / "a" / "seen").read_text().split() == ["begun", "seen"]


def test_an_item_that_removes_its_folder_fails_with_its_own_error(tmp_path: Path) -> None:
    spec = "command: 'rm -r {outdir}; exit 3'\nover: [a]\noutdir: 'o/{}'\n"
    code, (record,) = finish(tmp_path, spec, "--inline")
    assert (code, record["reason"], "outdir" in record) == (1, "exit status 3", False)


def test_what_arcli_did_not_make_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "o" / "a").mkdir(parents=True)
    (tmp_path / "o" / "a" / "precious").touch()
    spec = 'command: "touch {outdir}/x"\nover: [a, b]\noutdir: "o/{}"'
    code, records = finish(tmp_path, spec, "--inline")
    assert (code, statuses(records)) == (1, {"ok": 1, "error": 1})
    assert "arcli did not make it" in records[0]["error"]["message"]
    assert names(tmp_path / "o") == {"a", "a/precious", "b", "b/x"}
    (tmp_path / "o" / "b" / "old").touch()
    finish(tmp_path, spec, "--inline")
    assert names(tmp_path / "o" / "b") == {"x"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "command: 'echo {a}'\nover: {product: {a: [1, 2], b: [1, 2]}}\noutdir: 'o/{a}'",
            "items 0 and 1 have one folder",
        ),
        ("map: 'str'\nover: [a, a/b]\noutdir: 'o/{}'", "one inside of the other's"),
        ("map: 'str'\nover: [a, ./a]\noutdir: 'o/{}'", "one folder"),
        ("map: 'str'\nover: [./a, WORKING/a]\noutdir: '{}'", "one folder"),
        ("map: 'str'\nover: [a, a.partial]\noutdir: 'o/{}'", "one folder"),
        ("map: 'str'\nover: [a.failed/b, a]\noutdir: 'o/{}'", "one folder"),
        (
            "map: 'str'\nover: {product: {index: [1, 2], b: [1, 2]}}\noutdir: 'o/{index}'",
            "items 0 and 1 have one folder",
        ),
        ("map: 'str'\nover: [{index: 1}, {index: 1}]\noutdir: 'o/{index}'", "apart, or {number}"),
        ("map: 'str'\nover: {cases: [{a: b}, {a: b/0}]}\noutdir: 'o/{a}/{index}'", "inside of the other's"),
        ("map: 'str'\nover: [a]\noutdir: o", "one folder for all items"),
        ("map: 'str'\nover: [a]\noutdir: 'o/{x}'", "there is no {x}"),
        ("map: 'str'\nover: [a]\nartifacts: ['*']", "artifacts are in an outdir"),
        ("map: 'str'\nover: [a]\noutdir: true\nartifacts: ['../*']", "is not inside"),
        ("map: 'str'\nover: [a]\noutdir: true\nartifacts: ['{a,/b}']", "is not inside"),
        ("map: 'str'\nover: [a]\noutdir: true\nartifacts: ['{a,b']", "without its other half"),
        ("apply: 'os:getpid'\noutdir: true", "not for apply"),
    ],
)
def test_what_cannot_be_is_told_before_the_run(tmp_path: Path, spec: str, message: str) -> None:
    with running(tmp_path, spec.replace("WORKING", str(tmp_path)), "--inline") as run:
        assert run.wait() == 2
        assert message in run.said()
    assert not (tmp_path / ".arcli").exists()


@pytest.mark.parametrize(("name", "key"), [("in.csv", ""), ("in.csv", "index"), ("in.jsonl", "index")])
def test_twins_in_a_stream_are_found_while_it_is_read(tmp_path: Path, name: str, key: str) -> None:
    (tmp_path / "in.csv").write_text("index\n1\n2\n1\n")
    (tmp_path / "in.jsonl").write_text('{"index": 1}\n{"index": 2}\n{"index": 1}\n')
    spec = f"map: str\nunpack: none\nover: {{{Path(name).suffix[1:]}: {name}}}\noutdir: 'o/{{{key}}}'\n"
    code, records = finish(tmp_path, spec, "--inline")
    assert code == 2
    assert len(records) <= 2


def test_twins_among_an_earlier_jobs_values_are_found(tmp_path: Path) -> None:
    jobs = "- {name: a, map: 'lambda x: x % 2', over: {range: 3}, collect: list}\n"
    jobs += "- {name: b, map: str, over: '${jobs.a.value}', outdir: 'o/{}'}\n"
    code, records = finish(tmp_path, f"jobs:\n{jobs}", "--inline")
    assert code == 2
    assert len(records) <= 5


def test_resume_runs_again_what_has_lost_its_artifacts(tmp_path: Path) -> None:
    spec = 'command: "echo {} >> log; touch {outdir}/x; test -e fixed || test {} != c"\nover: [a, b, c]\n'
    spec += 'outdir: "o/{}"\nartifacts: [x]'
    assert finish(tmp_path, spec, "--inline")[0] == 1
    (tmp_path / "fixed").touch()
    (tmp_path / "log").unlink()
    (tmp_path / "o" / "a" / "x").unlink()
    told = "2 to run: 1 whose files are not as they were, 1 that failed before"
    for more in (["--dry-run"], []):
        with running(tmp_path, spec, "--inline", "--failed", "--explain", *more) as run:
            assert run.wait() == 0
            assert told in run.said() + run.out.read_text()
    assert f"{tmp_path}/o/a/x is not there as it was made" in run.said()
    assert sorted((tmp_path / "log").read_text().split()) == ["a", "c"]
    shutil.rmtree(tmp_path / "o")


def test_what_a_resumed_run_refers_to_outlives_its_end(tmp_path: Path) -> None:
    spec = """
command: "test {x} != 2 -o -e {{flag}} && echo {x} > {outdir}/a.txt"
over: {list: [{x: 0}, {x: 2}]}
outdir: true
artifacts: [a.txt]
keep: {runs: 1}
"""
    spec = spec.replace("{{flag}}", str(tmp_path / "flag"))
    assert finish(tmp_path, spec, "--inline")[0] == 1
    (tmp_path / "flag").touch()
    code, records = finish(tmp_path, spec, "--inline", "--failed")
    assert code == 0
    assert [(Path(record["outdir"]) / "a.txt").read_text() for record in records] == ["0\n", "2\n"]
    assert finish(tmp_path, spec, "--inline")[0] == 0
    assert len(list((tmp_path / ".arcli" / "runs").iterdir())) == 1


NAMED = ["a", "b", "c", "..", ".", "a.partial", "a.failed"]
PATHS = st.lists(st.sampled_from(NAMED), min_size=1, max_size=4).map("/".join)


@settings(deadline=None)
@given(st.lists(PATHS, max_size=8))
def test_no_two_folders_are_one_or_inside_of_each_other(paths: list[str]) -> None:
    folders = Folders(compiled("/o/{}"))
    accepted: list[Path] = []
    for index, path in enumerate(paths):
        normal = Path(*_normal(Path("/o", path).parts))
        # What an item works in, and what is left of one that failed, stand beside its folder.
        used = [Path(f"{normal}{end}") for end in ("", ".partial", ".failed")]
        pairs = itertools.product(used, accepted)
        clash = any(one.is_relative_to(other) or other.is_relative_to(one) for one, other in pairs)
        assert (folders.add(index, path) is not None) == clash
        if not clash:
            accepted += used


def _normal(parts: tuple[str, ...]) -> list[str]:
    kept: list[str] = []
    for part in parts:
        if part == ".." and len(kept) > 1:
            kept.pop()
        elif part not in {"..", "."}:
            kept.append(part)
    return kept


def test_artifacts_are_not_looked_for_behind_links_to_folders(
    tmp_path: Path, where: tuple[str, ...]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.pt").write_text("other")
    script = "cd {outdir} && mkdir deep && touch a.pt deep/b.pt && ln -s . l && ln -s .. deep/l"
    spec = f'command: "{script} && ln -s {tmp_path}/elsewhere e && ln -s e/other.pt {{}}"\nover: [c.pt]\n'
    code, records = finish(tmp_path, spec + 'outdir: true\nartifacts: ["**", "e/*"]', *where)
    assert code == 0
    # A link to a file is that file; one to a folder is not followed under `**`.
    files = {file["path"]: file["size"] for file in records[0]["artifacts"]}
    assert files == {"a.pt": 0, "c.pt": 5, "deep/b.pt": 0, "e/other.pt": 5}


NAMES = ("a", "b", "^", ".a", "ab", "a*", "b/a", "b/.a", ".b/a", "b/ab/a")


@given(
    st.lists(
        st.sampled_from(["*", "**", "?", "[^a]", "[!a]", "[a^]", "a", "b", ".*", "a\\*", "/"]), max_size=5
    )
)
@settings(max_examples=200, deadline=None)
def test_patterns_of_artifacts_are_those_of_inputs(parts: list[str]) -> None:
    pattern = "".join(parts)
    if not PurePath(pattern).parts or pattern.startswith("/") or pattern.endswith("/"):
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            if name == "b":
                continue
            Path(folder, name).parent.mkdir(exist_ok=True, parents=True)
            Path(folder, name).touch()
        inputs = paths_of(Glob(patterns=[pattern]), Path(folder))
        assert matching(folder, pattern_steps(pattern)) == [
            str(Path(path).relative_to(folder)) for path in inputs
        ]


@pytest.mark.parametrize("suffix", ["", ".partial", ".failed"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_nothing_is_replaced_that_arcli_did_not_make(tmp_path: Path, suffix: str, kind: str) -> None:
    mine = tmp_path / "o" / f"a{suffix}"
    file = mine / "precious" if kind == "folder" else mine
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    spec = "command: 'touch {outdir}/x'\nover: [a, b]\noutdir: 'o/{}'\n"
    code, records = finish(tmp_path, spec, "--inline")
    assert (code, statuses(records)) == (1, {"ok": 1, "error": 1})
    assert records[0]["error"]["type"] == "FolderTaken"
    assert f"a{suffix} is there already" in records[0]["error"]["message"]
    assert file.read_text() == "mine"


@pytest.mark.parametrize("end", ["exit 3", "true"])
def test_an_item_may_empty_its_folder(tmp_path: Path, end: str) -> None:
    """Of all that is in it, arcli's own mark too: the folder is one that a later attempt replaces."""
    script = f"rm -r {{outdir}}; mkdir {{outdir}}; touch {{outdir}}/x; {end}"
    spec = f"command: '{script}'\nover: [a]\noutdir: 'o/{{}}'\n"
    for _ in range(2):
        _, records = finish(tmp_path, spec + "retries: 1\n", "--inline")
        assert (records[0]["error"] or {}).get("type") != "FolderTaken"
