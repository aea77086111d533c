"""Text and tables as HTML: nothing that a user's task said is ever markup."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence

from arcli.escape import plain


def text(words: str) -> str:
    """Return text that is safe between tags and in quoted attributes; control characters are shown."""
    return html.escape(plain(words))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> Iterator[str]:
    """Yield a table whose first ``texts`` columns are text and the others figures."""
    yield '<div class="scroll"><table><thead>'
    yield _row(head, "th", texts)
    yield "</thead><tbody>"
    for row in rows:
        yield _row(row, "td", texts)
    yield "</tbody></table></div>"


def _row(cells: Sequence[str], tag: str, texts: int) -> str:
    made = []
    for place, cell in enumerate(cells):
        kind = "" if place < texts else ' class="n"'
        made.append(f"<{tag}{kind}>{text(cell)}</{tag}>")
    return f"<tr>{''.join(made)}</tr>\n"
