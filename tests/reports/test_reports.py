"""Each format of a report: what it says, and that nothing in a journal can do harm there."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tracemalloc
from collections import defaultdict
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from past_runs import BAD, ZERO, Paper, engine, failed, item, make, read

from arcli.engine import tally
from arcli.errors import UsageError
from arcli.outputs.base import Outputs
from arcli.outputs.markdown import escape
from arcli.outputs.open import Destination, open_files
from arcli.reports import formats, html, trace
from arcli.reports.collect import Wanted, read_report
from arcli.reports.column_names import FEW, check_names
from arcli.reports.items import write_records
from arcli.store import past
from arcli.store.folder import RunFolder
from arcli.store.index import JournalIndex
from arcli.store.lock import Lock
from arcli.timing import groups
from arcli.timing.timeline import MOST_SPANS
from arcli.units import isoformat

RECORDS = [*(item(index) for index in range(5)), failed(5, "no")]


def hostile(root: Path) -> RunFolder:
    """A run in which all text that a user's task decides is bad."""
    records = [
        failed(0, BAD, input={"n": BAD, BAD: 1}),
        item(1, input={"n": BAD}, status="lost", reason=BAD),
    ]
    return make(
        root, records, name=BAD, argv=(BAD,), spec_file=BAD, host=BAD, resumes=BAD,
        versions={BAD: BAD}, git={"commit": BAD}, engines=(engine(0, BAD), engine(1, BAD)),
    )  # fmt: skip


def shown(root: Path, width: int) -> str:
    paper = Paper(width)
    formats.write_text(paper.page, read(root, RECORDS))
    return re.sub(r"run \S+, \S+:", "run ID, WHEN:", paper.text)


def test_a_run_that_was_killed_before_its_first_record_is_no_success(tmp_path: Path) -> None:
    paper = Paper(120)
    report = read(tmp_path, [], name="squares", spec={"jobs": [{"name": "squares", "map": "abs"}]})
    formats.write_text(paper.page, report)
    assert "✗ squares  no items, others never read" in paper.text
    assert "ended: killed" in paper.text


def test_a_run_that_was_killed_lasted_until_its_last_sign_of_life(tmp_path: Path) -> None:
    run = make(tmp_path, [], ended=None)
    for name, seconds in (("journal.jsonl", 1), ("manifest.json", 2), ("alive", 9)):
        os.utime(run.path / name, (ZERO + seconds, ZERO + seconds))
    assert past.ended(run, "killed") == ZERO + 9


WIDE = """\
squares, run ID, WHEN: killed before its end
✗ squares  5 ok, 1 failed of 6 items, others never read in 5.00 s  (2 engines)
  ended: killed
  1  ValueError: no
     n=2
     | Traceback:
     | no

job      items  ok  failed    wall  serial  speed-up  efficiency
squares      6   5       1  2.61 s  2.10 s      0.80        40 %

engine  items  chunks    busy          idle
0           3       3  900 ms  34 %  1.71 s  66 %
1           3       3  1.20 s  46 %  1.41 s  54 %

time     SPAN: start-up 1.00 s, jobs 4.00 s
engines  items 40 %, arcli <1 %, idle 60 %; a chunk returns in 10.0 ms
items    350 ms ± 187 ms; 100 ms … 600 ms, median 350 ms, p95 600 ms
chunks   6, auto: 1 item
note     an unknown number never read, ended: killed

n  items  failed         mean ± σ  median     p95        min … max
0      2       0  250 ms ± 212 ms  250 ms  400 ms  100 ms … 400 ms
1      2       0  350 ms ± 212 ms  350 ms  500 ms  200 ms … 500 ms
2      2       1  450 ms ± 212 ms  450 ms  600 ms  300 ms … 600 ms

slowest  seconds  engine  status  input
5         600 ms       1  error   n=2
4         500 ms       0  ok      n=1
3         400 ms       1  ok      n=0
"""  # noqa: RUF001


@pytest.mark.parametrize("width", [60, 80, 160])
def test_text_fits_and_says_it_all(tmp_path: Path, width: int) -> None:
    said = shown(tmp_path, width)
    assert all(len(line) <= width for line in said.splitlines())
    words = " ".join(said.split())
    for part in ("killed before its end", "1 ValueError: no n=2", "n=2", "slowest", "±"):
        assert part in words


def test_text_at_eighty_columns(tmp_path: Path) -> None:
    said = re.sub(r"time     .*: start", "time     SPAN: start", shown(tmp_path, 80))
    assert said == WIDE


@pytest.mark.parametrize("form", ["text", "markdown", "html", "json", "trace"])
def test_a_hostile_journal_does_no_harm(tmp_path: Path, form: str) -> None:
    run = hostile(tmp_path)
    report = read_report(run, Wanted(by=("n",), slowest=5, drawn=True))
    paper = Paper(200)
    if form == "text":
        formats.write_text(paper.page, report)
    said = {
        "text": lambda: paper.text,
        "markdown": lambda: formats.render_markdown(report),
        "html": lambda: "".join(html.render(report)),
        "json": lambda: formats.render_json(report).decode(),
        "trace": lambda: b"".join(trace.render(run)).decode(),
    }[form]()
    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", said) is None
    if form in {"json", "trace"}:
        assert json.loads(said)
        return
    assert "\u202e" not in said
    if form != "text":
        assert re.search(r"(?<!\\)<script", said) is None
    assert "alert" in said


class Reader(HTMLParser):
    """What a browser would make of a page: tags are closed as they were opened."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: dict[str, int] = defaultdict(int)
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def browse(report: Any) -> Reader:
    reader = Reader()
    reader.feed("".join(html.render(report)))
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("kind", ["plain", "hostile", "empty"])
def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(tmp_path: Path, kind: str) -> None:
    runs = {
        "plain": lambda: make(tmp_path, RECORDS, exit_code=1),
        "hostile": lambda: hostile(tmp_path),
        "empty": lambda: make(tmp_path, []),
    }
    reader = browse(read_report(runs[kind](), Wanted(slowest=3, drawn=True)))
    assert not reader.tags.keys() & {
        "script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "use",
    }  # fmt: skip
    names = {name for name, _ in reader.attributes}
    assert not names & {"src", "href", "xlink:href", "srcset", "action", "data"}
    assert not any(name.startswith("on") for name in names)
    assert reader.tags["style"] == 1
    assert "url(" not in "".join(reader.words)
    assert "@import" not in "".join(reader.words)


def test_the_page_draws_every_item_and_tells_all(tmp_path: Path) -> None:
    reader = browse(read(tmp_path, RECORDS, exit_code=1))
    words = " ".join(reader.words)
    # The engines over time, items a second, seconds against the order and against n, and how many took how
    # long.
    assert reader.tags["svg"] == 5
    assert "Seconds against n" in words
    assert "item 4: n 1, 500 ms, ok" in words or "item 4: n 1, 500 ms, error" in words
    for index in range(5):
        assert f"squares {index}: " in words
    for part in ("exit 1", "ValueError: no", "By n", "Slowest items", "median", "engine 1"):
        assert part in words


def test_the_page_of_very_many_items_is_small(tmp_path: Path) -> None:
    report = read(tmp_path, RECORDS)
    assert report.timeline is not None

    def size() -> int:
        return len("".join(html.render(report)))

    for index in range(MOST_SPANS):
        report.timeline.add(item(index))
    once = size()
    for index in range(MOST_SPANS, 4 * MOST_SPANS):
        report.timeline.add(item(index))
    assert size() < 2 * once < 80_000


def test_memory_does_not_grow_with_the_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "EXACT", 100)  # so many are kept one by one, and no more
    monkeypatch.setattr(groups, "EXACT_ITEMS", 100)

    def peak(count: int) -> int:
        run = make(tmp_path, [item(i) for i in range(count)])
        tracemalloc.start()
        read_report(run, Wanted(by=("n",), slowest=5))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(500)  # what is only made once belongs to neither
    few, many = peak(500), peak(2000)
    assert many < 1.3 * few


def test_markdown_is_a_table_for_github(tmp_path: Path) -> None:
    said = formats.render_markdown(read(tmp_path, RECORDS, exit_code=1))
    assert said.startswith("### squares: exit 1, some items are not ok\n\n| job | items | ok |")
    blocks = [block for block in said.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 4
    for block in blocks:
        head, marks, *rows = block.splitlines()
        assert re.fullmatch(r"\|( :?---:? \|)+", marks)
        assert rows
        assert {line.count(" |") for line in (head, marks, *rows)} == {head.count(" |")}


def test_markdown_cells_stay_cells(tmp_path: Path) -> None:
    assert escape("a|b\nc <b> `x`") == r"a\|b …"
    assert escape("<b>|`_*[x]") == r"\<b\>\|\`\_\*\[x\]"
    said = formats.render_markdown(read_report(hostile(tmp_path), Wanted(by=("n",), slowest=3)))
    for block in said.split("\n\n"):
        if block.startswith("|"):
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(cells) == 1


def test_the_trace_has_one_complete_event_an_item_on_its_engines_track(tmp_path: Path) -> None:
    nowhere = {"engine_id": None, "started": None, "completed": None, "seconds": None}
    records = [*RECORDS, item(6, status="lost", **nowhere), item(7, replayed=True)]
    run = make(tmp_path, records, engines=(engine(0, "a"), engine(1, "b")))
    tree = json.loads(b"".join(trace.render(run)))
    events = [e for e in tree["traceEvents"] if e["ph"] == "X" and e["cat"] != "engine"]
    assert [event["args"]["index"] for event in events] == list(range(6))
    assert [event["tid"] for event in events] == [0, 1, 0, 1, 0, 1]
    assert {(event["tid"], event["pid"]) for event in events} == {(0, 1), (1, 2)}
    assert [event["ts"] for event in events[:3]] == [1_000_000, 1_000_000, 2_000_000]
    assert [event["dur"] for event in events[:3]] == [100_000, 200_000, 300_000]
    assert events[5]["args"]["error"] == "ValueError: no"
    names = {(e["name"], e["pid"], e["tid"]): e["args"]["name"] for e in tree["traceEvents"][:4]}
    assert names["process_name", 2, 0] == "squares on b"
    assert names["thread_name", 2, 1] == "engine 1"


def test_items_side_by_side_do_not_cross_on_a_track(tmp_path: Path) -> None:
    def ran(index: int, begin: float, end: float) -> dict[str, Any]:
        times = {"started": isoformat(ZERO + begin), "completed": isoformat(ZERO + end)}
        return item(index, engine_id=0, seconds=end - begin, **times)

    times = [(1, 2), (1, 2.5), (2, 3), (2.5, 3), (1, 4), (3, 4.5), (3, 5), (4.5, 5.5)]
    run = make(tmp_path, [ran(n, *each) for n, each in enumerate(times)], engines=(engine(0),))
    tree = json.loads(b"".join(trace.render(run)))
    events = [e for e in tree["traceEvents"] if e["ph"] == "X" and e["cat"] != "engine"]
    assert len(events) == len(times)
    tracks: dict[int, list[tuple[int, int]]] = {}
    for event in events:
        tracks.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    assert len(tracks) == 3
    for spans in tracks.values():
        assert all(end <= begin + trace.JITTER for (_, end), (begin, _) in pairwise(sorted(spans)))
    names = {e["tid"]: e["args"]["name"] for e in tree["traceEvents"] if e["name"] == "thread_name"}
    assert [names[track] for track in sorted(tracks)] == [
        "engine 0",
        "engine 0, beside 1",
        "engine 0, beside 2",
    ]


@pytest.mark.parametrize("count", [0, 1, 995, 996, 997, 1996, 1997, 2500])
def test_a_trace_is_valid_at_every_seam(tmp_path: Path, count: int) -> None:
    tree = json.loads(b"".join(trace.render(make(tmp_path, [item(i) for i in range(count)]))))
    items = [event for event in tree["traceEvents"] if event["ph"] == "X" and event["cat"] != "engine"]
    assert len(items) == count


def test_attempts_that_nobody_could_draw_are_damage(tmp_path: Path) -> None:
    bad: list[Any] = [7, [7], [{}], [{"engine_id": 0, "status": "error", "reason": "no", "seconds": "x"}]]
    run = make(tmp_path, [item(0), *(item(1 + n, earlier_attempts=each) for n, each in enumerate(bad))])
    report = read_report(run, Wanted(drawn=True))
    assert report.damaged == len(bad)
    assert len(json.loads(b"".join(trace.render(run)))["traceEvents"]) > 0


def test_json_is_the_document_of_a_run_with_histograms(tmp_path: Path) -> None:
    tree = json.loads(formats.render_json(read(tmp_path, RECORDS)))
    assert (tree["run"]["status"], tree["run"]["exit_code"]) == ("killed", None)
    (job,) = tree["jobs"]
    assert job["counts"]["error"] == 1
    assert sum(count for _, count in job["histogram"]) == 6
    assert [each["value"] for each in job["groups"]["groups"]] == [0, 1, 2]
    assert [slow["index"] for slow in tree["slowest"]] == [5, 4, 3]


@pytest.mark.parametrize("state", ["killed", "running"])
def test_no_file_says_of_a_run_that_has_not_ended_that_all_is_well(tmp_path: Path, state: str) -> None:
    """Where all the records that there are were ok, it was ok, with exit code 0."""
    run = make(tmp_path, [item(0), item(1)])
    alive = Lock.hold(run.path / "alive", "run", wait=True)
    if state == "killed":
        alive.release()
    report = read_report(run, Wanted())
    alive.release()
    said = {}
    for name in ("run.json", "run.prom", "run.md", "run.junit.xml"):
        lines = run.journal.read_bytes().splitlines(keepends=True)
        outputs = Outputs(open_files([Destination(path=name, folder=tmp_path)]))
        write_records(lines, outputs, report.summary)
        said[name] = (tmp_path / name).read_text()
    about = json.loads(said["run.json"])["run"]
    error = "the run still goes on" if state == "running" else "the run was killed before its end"
    assert (about["status"], about["exit_code"], about["error"]) == (state, None, error)
    assert about == json.loads(formats.render_json(report))["run"]
    assert re.search(r"^arcli_last_run_exit_code\{.*\} NaN$", said["run.prom"], re.MULTILINE)
    assert said["run.md"].startswith(f"### {'⏳' if state == 'running' else '❌'} squares: 2 of 2 items ok")
    assert f"\n{error}.\n" in said["run.md"]
    assert f'<error type="Failed" message="{error}"/>' in said["run.junit.xml"]


def test_damage_is_told_and_the_rest_is_there(tmp_path: Path) -> None:
    run = make(tmp_path, RECORDS)
    strange = [
        item(6, seconds="long"), item(7, seconds=-1), {**item(8), "index": "x"}, item(9, job=5),
        item(10, status="fine"), item(11, engine_id="0"), item(12, error="no"),
        item(13, error={}), item(16, job=BAD), item(14, seconds=1e300), item(15, attempt=[]),
    ]  # fmt: skip
    with run.journal.open("a") as journal:
        journal.write("\n".join(json.dumps(each) for each in strange) + '\n\x00\x00\n{"job": 1')
    report = read_report(run, Wanted(drawn=True))
    assert report.damaged == len(strange) + 2
    assert report.summary.jobs[0].counts.planned == 6
    paper = Paper()
    formats.write_text(paper.page, report)
    assert "13 parts of the journal could not be read and are not counted" in paper.text
    assert "13 parts" in "".join(html.render(report))
    assert "13 parts" in formats.render_markdown(report)


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"{", b"[]", b'{"engines": 5}', b'{"engines": [1]}', b'{"started": 5}',
        b'{"summary": {"jobs": 3}}', b'{"summary": [1], "exit_code": "x"}', b'{"params": 3}',
        b'{"spec": {"jobs": [1, {"name": 3}]}, "started": "soon"}', b'{"versions": []}',
        b'{"argv": [1, null]}', b'{"name": null}', b'{"started": "9999-12-31T23:59:59Z"}',
        b'{"started": "0001-01-01T00:00:00+23:59", "id": "\\u001b"}',
        b'{"git": {"commit": 3}, "versions": {"a": []}, "spec": {"jobs": {}}, "exit_code": 999}',
        json.dumps({"engines": [{**engine(0), "slot": []}]}).encode(),
        json.dumps({"engines": [{**engine(0), "host": 3}]}).encode(),
    ],
)  # fmt: skip
def test_a_damaged_manifest_costs_only_what_it_said(tmp_path: Path, damage: bytes) -> None:
    run = make(tmp_path, RECORDS)
    (run.path / "manifest.json").write_bytes(damage)
    report = read_report(RunFolder(run.path), Wanted(by=("n",), slowest=1, drawn=True))
    assert report.summary.jobs[0].counts.ok == 5
    formats.write_text(Paper().page, report)
    browse(report)
    formats.render_markdown(report)
    formats.render_json(report)
    json.loads(b"".join(trace.render(RunFolder(run.path))))


def test_a_key_that_no_item_has_is_refused_with_those_there_are(tmp_path: Path) -> None:
    run = make(tmp_path, RECORDS)
    with pytest.raises(UsageError, match="no item has an input 'm'") as caught:
        read_report(run, Wanted(by=("m",)))
    assert caught.value.hint == "there are: n, engine, host, slot, status, job"
    assert read_report(make(tmp_path, []), Wanted(by=("m",))).groups is not None
    for tree, keys in (
        ({"status": 1, "n": 2}, "input.status, n"),
        ({"$pickle": None, "repr": ""}, "input"),
    ):
        with pytest.raises(UsageError, match="no item has an input 'repr'") as caught:
            read_report(make(tmp_path, [item(0, input=tree)]), Wanted(by=("repr",)))
        assert caught.value.hint == f"there are: {keys}, engine, host, slot, status, job"


def test_a_run_without_anything_has_a_report(tmp_path: Path) -> None:
    report = read_report(make(tmp_path, [], started=None, engines=()), Wanted(drawn=True))
    paper = Paper(60)
    formats.write_text(paper.page, report)
    assert "killed before its end" in " ".join(paper.text.split())
    assert report.began > ZERO  # from the id


@pytest.mark.parametrize("name", ["sead", "input.sead", "value.sead"])
def test_a_column_that_is_not_there_is_refused_after_a_few_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = make(tmp_path, [item(i, value={"seed": i}) for i in range(FEW + 100)], exit_code=0)
    with JournalIndex(run) as index:
        lines: list[tuple[object, ...]] = []
        read = index.line

        def line(*at: Any) -> bytes | None:
            lines.append(at)
            return read(*at)

        monkeypatch.setattr(index, "line", line)
        with pytest.raises(UsageError, match="no item has"):
            check_names(index, None, [name], "--columns")
        assert len(lines) <= FEW


@given(st.text(min_size=1))
@settings(max_examples=100, deadline=None)
def test_a_key_that_a_record_has_is_met_without_reading_it(key: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = make(Path(folder), [item(0, value={key: 1})], exit_code=0)
        with JournalIndex(run) as index:
            assert index.may_name(key.rpartition(".")[2])
