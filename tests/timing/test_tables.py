"""Tables as people see them, at fixed widths and without colour."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.table import Table

from arcli.engine.tally import Tally
from arcli.timing.ledger import End, EngineUse, Ledger
from arcli.timing.summary import JobSummary, RunSummary, summarize_job
from arcli.timing.tables import MANY_ENGINES, figures_table, fitted, run_report
from arcli.timing.words import chunk_words, percent, remarks


def ledger(name: str = "squares", engines: int = 2) -> Ledger:
    tally = Tally()
    for i in range(998):
        tally.add("ok", 0.01 if i % 2 else 0.03)
    tally.add("error", 0.02)
    tally.add("cancelled", None)
    return Ledger(
        job=name,
        wall=12.3,
        planned=1000,
        tally=tally,
        ended=End.HALT,
        engines={
            i: EngineUse(
                engine_id=i, slot=i, items=500, chunks=3, present=12.3, busy=12 - i / 10,
                compute=10.0, returning=0.015,
            )
            for i in range(engines)
        },
        chunks=6,
        smallest_chunk=1,
        typical_chunk=120,
        largest_chunk=400,
    )  # fmt: skip


def run(*jobs: JobSummary) -> RunSummary:
    return RunSummary(
        run="r",
        name="n",
        started="now",
        exit_code=1,
        startup=1.1,
        wall=13.5,
        reading=0.3,
        loading=0.4,
        stopping=0.015,
        writing=0.005,
        finish=0.02,
        jobs=jobs,
    )


def shown(summary: RunSummary, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(run_report(summary, width=width))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


WIDE = """\
job      items   ok  failed    wall  serial  speed-up  efficiency
squares  1,000  998       1  12.3 s  20.0 s      1.62        81 %

engine  items  chunks    busy          idle
0         500       3  12.0 s  98 %  300 ms  2 %
1         500       3  11.9 s  97 %  400 ms  3 %

time     13.5 s: reading the spec 300 ms, start-up 800 ms, loading functions
         400 ms, jobs 12.0 s, stopping 15.0 ms, writing outputs 5.00 ms
engines  items 81 %, arcli 16 %, idle 3 %; a chunk returns in 5.00 ms
items    20.0 ms ± 10.0 ms; 10.0 ms … 30.0 ms, median 20.0 ms, p95 30.0 ms
chunks   6, auto: 1 … 400, typically 120 items
note     1 cancelled, ended: halt"""

NARROW = """\
job      items  failed    wall  speed-up  efficiency
squares  1,000       1  12.3 s      1.62        81 %

engine  items  chunks    busy          idle
0         500       3  12.0 s  98 %  300 ms  2 %
1         500       3  11.9 s  97 %  400 ms  3 %

time     13.5 s: reading the spec 300 ms, start-up 800 ms,
         loading functions 400 ms, jobs 12.0 s, stopping
         15.0 ms, writing outputs 5.00 ms
engines  items 81 %, arcli 16 %, idle 3 %; a chunk returns
         in 5.00 ms
items    20.0 ms ± 10.0 ms; 10.0 ms … 30.0 ms, median
         20.0 ms, p95 30.0 ms
chunks   6, auto: 1 … 400, typically 120 items
note     1 cancelled, ended: halt"""


@pytest.mark.parametrize(("width", "text"), [(60, NARROW), (80, WIDE)])
def test_report(width: int, text: str) -> None:
    assert shown(run(summarize_job(ledger())), width) == text


@pytest.mark.parametrize("width", range(48, 130))
def test_no_line_ends_between_a_number_and_its_unit(width: int) -> None:
    jobs = (summarize_job(ledger("first")), summarize_job(ledger("another")))
    lines = shown(run(*jobs), width).splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if re.match(r"\s*(?:(?:[mµn]?s|min)\b|%)", line)]


def test_several_jobs_are_told_apart_and_engines_added_up() -> None:
    text = shown(run(summarize_job(ledger("first")), summarize_job(ledger("second"))), 80)
    assert "0       1,000       6  24.0 s  98 %  600 ms  2 %" in text
    assert text.splitlines()[10:] == [
        "first   engines: items 81 %, arcli 16 %, idle 3 %; a chunk returns in 5.00 ms",
        "        items: 20.0 ms ± 10.0 ms; 10.0 ms … 30.0 ms, median 20.0 ms, p95 30.0 ms",
        "        chunks: 6, auto: 1 … 400, typically 120 items",
        "        note: 1 cancelled, ended: halt",
        "second  engines: items 81 %, arcli 16 %, idle 3 %; a chunk returns in 5.00 ms",
        "        items: 20.0 ms ± 10.0 ms; 10.0 ms … 30.0 ms, median 20.0 ms, p95 30.0 ms",
        "        chunks: 6, auto: 1 … 400, typically 120 items",
        "        note: 1 cancelled, ended: halt",
    ]


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_long_name_costs_no_figure(width: int) -> None:
    text = shown(run(summarize_job(ledger("a_rather_long_name_" * 6))), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "1,000" in text.splitlines()[1]
    assert "81 %" in text.splitlines()[1]


def test_of_many_engines_the_extremes_are_shown() -> None:
    text = shown(run(summarize_job(ledger(engines=MANY_ENGINES + 10))), 80)
    assert "… 20 more" in text
    assert sum(" 500 " in line for line in text.splitlines()) == 6


def test_markup_in_names_is_text() -> None:
    item = ledger()
    item.ended, item.reason = End.NEEDS, "[red]x[/red]"
    assert "needs [red]x[/red]" in shown(run(summarize_job(item)), 80)


def test_chunks_in_words() -> None:
    item = ledger()
    item.chunksize = 1
    assert chunk_words(summarize_job(item)) == "6, given: 1 item"
    item.chunksize, item.smallest_chunk, item.largest_chunk = None, 7, 7
    assert chunk_words(summarize_job(item)) == "6, auto: 7 items"


def test_remarks_are_complete_and_else_empty() -> None:
    item = ledger()
    item.unread, item.replayed, item.restarts = None, 12, 1
    words = remarks(summarize_job(item))
    assert words == (
        "1 cancelled, 12 kept from the run before, an unknown number never read, "
        "1 engine restarted, ended: halt"
    )
    calm = Ledger(job="calm", planned=1)
    calm.tally.add("ok", 1.0)
    assert remarks(summarize_job(calm)) == ""
    assert remarks(summarize_job(Ledger(job="none"))) == "no items"


def test_percent() -> None:
    assert [percent(x) for x in (0, 0.001, 0.5, 1, 1.02)] == [
        "0 %",
        "<1 %",
        "50 %",
        "100 %",
        "102 %",
    ]


@pytest.mark.parametrize("width", range(36, 90, 2))
def test_whatever_the_width_text_gives_way_and_no_figure_does(width: int) -> None:
    table = figures_table("the first column", "items", "mean", "change")
    table.add_column("what it came to", overflow="ellipsis", no_wrap=True)
    rows = [(f"{name} " * 9, "1,234,567", "20.4 ms ± 623 µs", "+17.3 %", "said " * 9) for name in "ab"]
    for row in rows:
        table.add_row(*row)
    lines = rendered(fitted(table, width), width).splitlines()
    assert all(len(line) <= width for line in lines)
    for figure in rows[0][1:4]:
        assert sum(line.count(figure) for line in lines) == len(rows), lines


@pytest.mark.parametrize("width", range(32, 70))
def test_a_table_without_text_stands_upright_where_it_is_narrow(width: int) -> None:
    headers = ["index", "seconds", "attempt", "value.of_the_model", "status"]
    table = figures_table(*headers)
    for column in table.columns:
        column.overflow = "fold"
    table.add_row("7", "20.4 ms", "1", "1,234,567", "timeout")
    text = rendered(fitted(table, width), width)
    assert max(map(len, text.splitlines())) <= width
    for word in ("7", "20.4 ms", "1,234,567", "timeout", *headers):
        assert word in text


@pytest.mark.parametrize("width", range(36, 60))
def test_what_rows_are_stays_above_them(width: int) -> None:
    table = figures_table("alpha, by seed and host", "items", "mean", "p95")
    table.add_row("1, b", "1,234,567", "20.4 ms ± 623 µs", "21.0 ms")
    assert rendered(fitted(table, width), width).startswith("alpha, by seed and host")


@pytest.mark.parametrize("width", range(40, 70))
def test_engines_that_did_much_lose_no_figure(width: int) -> None:
    job = ledger()
    for use in job.engines.values():
        use.items, use.chunks = 12_345_678_901, 1_234_567_890
    lines = shown(run(summarize_job(job)), width).splitlines()
    engines = lines[lines.index("") + 1 :]
    head = engines[0].split()
    assert set(head) == {"engine", "items", "busy", "idle", *(["chunks"] if "chunks" in head else [])}
    assert engines[1].split()[:2] == ["0", "12,345,678,901"]
    assert ("1,234,567,890" in engines[1].split()) == ("chunks" in head)


def rendered(table: Table, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
