"""What pages of reports have in common: text and tables as HTML, their look, their script.

Nothing that a user's task said is ever markup, and nothing is loaded.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from typing import NamedTuple

from arcli.escape import plain
from arcli.record import dump
from arcli.timing.failures import FailureGroup


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


def header(title: str, pill: str, kind: str, about: Iterable[str]) -> Iterator[str]:
    """Yield what a page begins with: its title, a ``pill`` of a ``kind``, and lines of what it is about."""
    mark = f'<span class="{f"pill {kind}".strip()}">{text(pill)}</span>' if pill else ""
    yield f"<header><h1>{text(title)}</h1>{mark}</header>\n"
    for line in about:
        yield f'<div class="about">{text(line)}</div>\n'


def moment(stamp: str | None) -> str:
    """Return an ISO time as pages say it, that are looked at on other days; nothing where there is none."""
    return f"{stamp.replace('T', ' ')[:19]} UTC" if stamp else ""


def failure(head: str, about: Iterable[str], group: FailureGroup) -> str:
    """Return a kind of failures: ``head`` is markup, the rest is closed until somebody asks."""
    place = f" <small>{text(group.place)}</small>" if group.place else ""
    lines = "".join(f"<p>{text(line)}</p>" for line in about)
    details = "".join(f"<pre>{text(detail)}</pre>" for detail in (group.traceback, group.stderr) if detail)
    summary = f"<summary>{head} {text(group.title)}{place}</summary>"
    return f"<details>{summary}{lines}{details}</details>"


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
    head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1, last: Sequence[str] = ()
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


_FILES = resources.files("arcli.reports")
CSS = (_FILES / "page.css").read_text("utf-8")
SCRIPT = (_FILES / "page.js").read_text("utf-8")
HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{HASH}'"
"""Nothing on a page may load or run what did not come with it: its own script, and no other."""
