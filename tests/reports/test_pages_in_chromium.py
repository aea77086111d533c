"""Pages in a real browser: people click, search and sort, and nothing else happens, whatever items say."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from past_runs import failed, item, make
from runs import PATIENCE, wait_until

from arcli.reports import comparison_page, html
from arcli.reports.collect import Report, Wanted, read_report
from arcli.reports.comparison import compare, measure_report
from arcli.reports.differing import differing
from arcli.store.folder import RunFolder

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="chromium and chromium-driver are not installed"
)
EVIL = "</script><img src=x onerror=\"document.title='owned'\"><b onclick=x>'\"&amp;"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1200,900",
)  # fmt: skip


class Browser:
    """A Chromium, and what a person does with it."""

    def __init__(self, folder: Path) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM or ""
        for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # With a path of its own selenium looks for no driver, and loads none.
        service = Service(executable_path=DRIVER, env={**os.environ, "HOME": str(folder)})
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_page_load_timeout(PATIENCE)
        self.driver.set_script_timeout(PATIENCE)
        self._folder = folder

    def open(self, page: str) -> None:
        """Open a page; what earlier ones complained of is forgotten."""
        path = self._folder / "page.html"
        path.write_text(page, "utf-8")
        self.complaints()
        self.driver.get(path.as_uri())

    def complaints(self) -> list[str]:
        """Errors of scripts, what the content security policy stopped, what could not be loaded."""
        log: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in log]

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def column(self, number: int) -> list[str]:
        """The cells of a column of the table of items, from 1."""
        script = "return [...document.querySelectorAll(arguments[0])].map(cell => cell.textContent)"
        cells: list[str] = self.driver.execute_script(script, f"#items-body td:nth-child({number})")
        return cells

    def search(self, words: str) -> None:
        """Type into the search field, in place of what is there."""
        field = self.find("#items-search")
        field.clear()
        field.send_keys(words or "a\b")

    def sort(self, column: str) -> None:
        """Click on a column's head."""
        (head,) = [
            b for b in self.driver.find_elements("css selector", "#items-head button") if b.text == column
        ]
        head.click()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    from selenium.common.exceptions import WebDriverException

    # What is tested are pages: a browser that has not come up, where the machine is busy, is started again.
    for attempt in range(3):
        try:
            browser = Browser(tmp_path_factory.mktemp("browser"))
            break
        except WebDriverException:
            if attempt == 2:
                raise
    yield browser
    browser.driver.quit()


def report_of(run: RunFolder) -> Report:
    return read_report(run, Wanted(by=("job",), slowest=5, drawn=True, tallies=True, items=1000))


def report_page(run: RunFolder) -> str:
    return "".join(html.render(report_of(run)))


def comparison_of(a: RunFolder, b: RunFolder) -> str:
    reports = (report_of(a), report_of(b))
    figures = compare(measure_report(reports[0]), measure_report(reports[1]))
    pair = comparison_page.Pair(comparison=figures, reports=reports, differing=differing(a, b))
    return "".join(comparison_page.render(pair))


def test_items_are_searched_sorted_and_unfolded(browser: Browser, tmp_path: Path) -> None:
    records = [item(n, input={"seed": n}, seconds=(7 * n % 11) / 8) for n in range(300)]
    browser.open(report_page(make(tmp_path, [*records, failed(300, "nan", input={"seed": 300})])))
    assert browser.find("#items-count").text == "301 of 301 items"
    assert len(browser.column(2)) == 200
    browser.find("#items-more").click()
    assert len(browser.column(2)) == 301
    assert not browser.find("#items-more").is_displayed()
    browser.search("seed=7 OK")
    assert browser.column(3) == [f"seed={n}" for n in (7, *range(70, 80))]
    browser.sort("seconds")
    seconds = [float(cell) for cell in browser.column(5)]
    assert seconds == sorted(seconds)
    browser.sort("seconds")
    assert [float(cell) for cell in browser.column(5)] == sorted(seconds, reverse=True)
    browser.search("error")
    assert browser.column(4) == ["error"]
    assert "not-ok" in browser.find("#items-body td:nth-child(4)").get_attribute("class")
    # A kind of failures is folded until somebody asks.
    assert not browser.find("details pre").is_displayed()
    browser.find("details summary").click()
    assert "nan" in browser.find("details pre").text
    titles = browser.driver.find_elements("css selector", "svg circle title")
    assert any("item 300:" in (title.get_attribute("textContent") or "") for title in titles)
    assert browser.complaints() == []


def test_an_empty_run_has_a_page(browser: Browser, tmp_path: Path) -> None:
    browser.open(report_page(make(tmp_path, [])))
    assert browser.find("h1").text == "squares"
    assert browser.complaints() == []


def evil_run(root: Path, *, ok: bool) -> RunFolder:
    """All that items can say is markup."""
    error = {"type": EVIL, "message": EVIL, "traceback": EVIL}
    bad = {"status": "error", "value": None, "error": error, "stderr": EVIL}
    records = [
        item(0, input={EVIL: EVIL, "n": EVIL}, value=EVIL, stdout=EVIL),
        item(1, input=EVIL, value={EVIL: [EVIL]}),
        item(2, input=EVIL, **({"value": 1} if ok else bad)),
        item(3, input={"n": EVIL}, status="lost", reason=EVIL),
    ]
    return make(root, records, name=EVIL, argv=(EVIL,), spec_file=EVIL, host=EVIL)


@pytest.mark.parametrize("kind", ["report", "comparison"])
def test_what_items_say_is_text(browser: Browser, tmp_path: Path, kind: str) -> None:
    bad = evil_run(tmp_path, ok=False)
    browser.open(report_page(bad) if kind == "report" else comparison_of(evil_run(tmp_path, ok=True), bad))
    assert browser.driver.title.startswith(EVIL)
    assert browser.driver.find_elements("css selector", "img, b[onclick]") == []
    assert any(EVIL in cell for cell in browser.column(3))
    browser.search("onerror")
    browser.sort("input")
    assert browser.column(3) != []
    assert browser.complaints() == []


def test_the_policy_stops_what_is_not_the_pages_own(browser: Browser, tmp_path: Path) -> None:
    """Were something not escaped, it would not run all the same."""
    page = report_page(make(tmp_path, [item(0)]))
    browser.open(
        page.replace(
            "</main>", '<img src="http://x.invalid/a.png"><script>document.title="owned"</script></main>'
        )
    )
    assert browser.driver.title == "squares: arcli report"
    complaints: list[str] = []

    def both() -> bool:
        complaints.extend(browser.complaints())
        return len(complaints) > 1

    wait_until(both)
    assert len(complaints) == 2
    assert all("Content Security Policy" in complaint for complaint in complaints)


def test_two_runs_are_side_by_side(browser: Browser, tmp_path: Path) -> None:
    a = make(tmp_path, [item(n, input={"n": n}) for n in range(9)] + [failed(9, "old", input={"n": 9})])
    b_records = [item(n, input={"n": 8 - n}, value=8 - n, seconds=9.0) for n in range(8)]
    b = make(tmp_path, [*b_records, failed(8, "new", input={"n": 0}), item(9, input={"n": 77})])
    browser.open(comparison_of(a, b))
    assert browser.find("h1").text == "squares: B against A"
    # What only changed its place is the same item; those of one run alone are told.
    assert json.loads(json.dumps(sorted(browser.column(3)))) == ["n=0", "n=77", "n=9"]
    browser.search("n=0")
    assert [browser.column(number)[0] for number in (4, 5, 8, 9)] == ["ok", "error", "0", "ValueError: new"]
    browser.search("n=9")
    assert [browser.column(number)[0] for number in (4, 5)] == ["error", "-"]
    summaries = [each.text for each in browser.driver.find_elements("css selector", "details summary")]
    assert summaries == ["0 → 1 new ValueError: new", "1 → 0 gone ValueError: old"]
    browser.find("details summary").click()
    assert browser.find("details pre").is_displayed()
    assert len(browser.driver.find_elements("css selector", ".sides svg")) == 2
    assert browser.find("td.not-ok").text.startswith("+")
    assert browser.complaints() == []
