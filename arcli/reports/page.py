"""What pages of reports have in common: text and tables as HTML, their look, their script.

Nothing that a user's task said is ever markup, and nothing is loaded.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from arcli.escape import plain
from arcli.record import dump


def text(words: str) -> str:
    """Return text that is safe between tags and in quoted attributes; control characters are shown."""
    return html.escape(plain(words))


def page(title: str, sections: Iterable[str]) -> Iterator[str]:
    """Yield a whole page, piece by piece: it may load nothing, and run nothing but its own script."""
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{text(title)}</title>\n<style>{CSS}</style>\n</head>\n<body><main>\n"
    yield from sections
    yield "</main></body>\n</html>\n"


class Column(NamedTuple):
    """A column of a table that the page's script fills; ``kind`` is text, number, seconds or status."""

    name: str
    kind: str = "text"


def live_table(
    title: str, columns: Sequence[Column], rows: Iterable[Sequence[object]], note: str = ""
) -> Iterator[str]:
    """Yield a section with rows that are searched and sorted in the page, by its script.

    There may be one on a page. Rows have a value for each column; null is none.
    """
    yield f'<section><h2>{text(title)} <small><span id="items-count"></span>{text(note)}</small></h2>'
    yield '<input id="items-search" type="search" placeholder="search" aria-label="search items">'
    yield '<div class="scroll"><table><thead><tr id="items-head">'
    for column in columns:
        yield f'<th><button type="button" data-kind="{column.kind}">{text(column.name)}</button></th>'
    yield '</tr></thead><tbody id="items-body"></tbody></table></div>'
    yield '<button type="button" id="items-more" hidden>more</button>'
    # In a script element only `<` could end it: https://html.spec.whatwg.org/#script-data-state
    yield '<script type="application/json" id="items-data">['
    for place, row in enumerate(rows):
        yield ("," if place else "") + dump(list(row)).decode().replace("<", "\\u003c")
    yield f"]</script><script>{SCRIPT}</script></section>\n"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    texts: int = 1,
    last: Sequence[str] = (),
) -> Iterator[str]:
    """Yield a table whose first ``texts`` columns are text and the others figures.

    ``last`` are classes of the last cells, a row each.
    """
    yield '<div class="scroll"><table><thead>'
    for place, cells in enumerate((head, *rows)):
        tag = "td" if place else "th"
        kinds = ["" if column < texts else ' class="n"' for column in range(len(cells))]
        if place and last:
            kinds[-1] = f' class="{last[place - 1]}"'
        made = (f"<{tag}{kind}>{text(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        yield f"<tr>{''.join(made)}</tr>\n" + ("" if place else "</thead><tbody>")
    yield "</tbody></table></div>"


CSS = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1c2430; --soft: #5c6878;
  --line: #e2e6ec; --lane: #eef1f5; --bad: #d03b3b; --good: #1f8a4c; --warn: #a8650c;
  --j0: #2f6fde; --j1: #12937f; --j2: #8a56c9; --j3: #c2711c; --j4: #3d8fb3; --j5: #a84b86; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1a2029; --ink: #e4e9f0;
  --soft: #97a3b4; --line: #2b333f; --lane: #232b36; --bad: #f07070; --good: #55c98a;
  --warn: #e0a458; --j0: #6ba1ff; --j1: #4cc4ae; --j2: #b692ea; --j3: #e0a05a; --j4: #75bfe0;
  --j5: #dc8bbf; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 56px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 12px; }
h1 { font-size: 24px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 15px; margin: 0 0 10px; }
h2 small { font-weight: normal; color: var(--soft); font-size: 13px; }
.pill { border-radius: 99px; padding: 1px 10px; font-size: 13px; font-weight: 600;
  color: var(--card); background: var(--good); align-self: center; }
.pill.bad { background: var(--bad); }
.pill.warn { background: var(--warn); }
.about { color: var(--soft); margin: 4px 0 20px; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 16px 18px; margin-top: 16px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px; }
.cards div { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 10px 14px; }
.cards b { display: block; font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums; }
.cards span { color: var(--soft); font-size: 12.5px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line);
  white-space: nowrap; max-width: 460px; overflow: hidden; text-overflow: ellipsis; }
th { color: var(--soft); font-weight: 500; font-size: 12.5px; }
tbody tr:last-child td { border-bottom: 0; }
.n { text-align: right; }
td.n:last-child, th.n:last-child { padding-right: 0; }
p { margin: 10px 0 0; color: var(--soft); }
details { border-top: 1px solid var(--line); padding: 6px 0; }
details:first-of-type { border-top: 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
summary b { color: var(--bad); }
pre { margin: 6px 0; padding: 10px 12px; background: var(--lane); border-radius: 6px;
  overflow-x: auto; font: 12.5px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
svg { display: block; width: 100%; min-width: 640px; height: auto; }
svg text { font-size: 12px; fill: var(--soft); }
.label { text-anchor: end; }
.tick { text-anchor: middle; }
svg .quantile { fill: var(--ink); }
.grid { stroke: var(--line); fill: none; }
.mark { stroke: var(--ink); stroke-dasharray: 3 3; fill: none; opacity: .6; }
.lane { fill: var(--lane); }
.startup { fill: var(--line); } .setup { fill: var(--soft); }
.end { stroke: var(--bad); stroke-width: 3; }
.dot { opacity: .55; }
.j0 { fill: var(--j0); } .j1 { fill: var(--j1); } .j2 { fill: var(--j2); } .j3 { fill: var(--j3); }
.j4 { fill: var(--j4); } .j5 { fill: var(--j5); } .bad { fill: var(--bad); }
.s1 { opacity: .3; } .s2 { opacity: .5; } .s3 { opacity: .75; }
.key i { display: inline-block; width: 10px; height: 10px; border-radius: 2px;
  margin: 0 5px 0 12px; }
th button { all: unset; cursor: pointer; }
th button:focus-visible, #items-more:focus-visible { outline: 2px solid var(--j0); }
#items-search { width: 100%; padding: 6px 10px; margin-bottom: 8px; font: inherit; color: inherit;
  background: var(--lane); border: 1px solid var(--line); border-radius: 6px; }
#items-more { margin-top: 8px; font: inherit; }
.not-ok { color: var(--bad); }
.better { color: var(--good); }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 12px; }
.sides svg { min-width: 0; }
footer { color: var(--soft); margin-top: 20px; font-size: 12.5px; }
@media print { body { background: none; } section { break-inside: avoid; } }
"""


SCRIPT = """
"use strict";
const SHOWN = 200;

function choose(items, words, column, ascending) {
  const parts = words.toLowerCase().split(/\\s+/).filter(Boolean);
  const chosen = items.filter(item => {
    const text = item.join(" ").toLowerCase();
    return parts.every(part => text.includes(part));
  });
  const order = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const numbers = typeof a === "number" && typeof b === "number";
    const less = numbers ? a - b : String(a).localeCompare(String(b));
    return ascending ? less : -less;
  };
  return column === null ? chosen : chosen.sort((x, y) => order(x[column], y[column]));
}

function start(document) {
  const source = document.getElementById("items-data");
  if (source === null) return;
  const items = JSON.parse(source.textContent);
  const heads = [...document.querySelectorAll("#items-head button")];
  const kinds = heads.map(head => head.dataset.kind);
  const body = document.getElementById("items-body");
  const count = document.getElementById("items-count");
  const search = document.getElementById("items-search");
  const more = document.getElementById("items-more");
  let column = null, ascending = true, shown = SHOWN;

  function draw() {
    const chosen = choose(items, search.value, column, ascending);
    body.replaceChildren(...chosen.slice(0, shown).map(item => {
      const row = document.createElement("tr");
      item.forEach((value, place) => {
        const cell = document.createElement("td");
        const kind = kinds[place];
        cell.textContent = value === null ? "-" : kind === "seconds" ? value.toPrecision(4) : value;
        cell.title = cell.textContent;
        if (kind === "number" || kind === "seconds") cell.className = "n";
        if (kind === "status" && value !== "ok") cell.className = "not-ok";
        row.append(cell);
      });
      return row;
    }));
    count.textContent = `${chosen.length} of ${items.length} items`;
    more.hidden = chosen.length <= shown;
  }

  search.addEventListener("input", () => { shown = SHOWN; draw(); });
  more.addEventListener("click", () => { shown += 5 * SHOWN; draw(); });
  heads.forEach((head, place) => {
    head.addEventListener("click", () => {
      ascending = column === place ? !ascending : true;
      column = place;
      draw();
    });
  });
  draw();
}

if (typeof document !== "undefined") start(document);
"""
HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{HASH}'"
"""Nothing on a page may load or run what did not come with it: its own script, and no other."""
