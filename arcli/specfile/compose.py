"""From the text of a spec to nodes: YAML's syntax by PyYAML, its meaning by the 1.2 core schema.

Only PyYAML's events are used. Its constructors follow YAML 1.1 and let Python's own errors through,
its composer recurses and expands aliases without a bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from arcli.errors import SpecError
from arcli.specfile import scalars
from arcli.specfile.hints import syntax_problem
from arcli.specfile.tree import Entry, Node, Text

DEEPEST = 64
"""Levels of nesting: far beyond any spec, far below Python's recursion limit."""
MOST_ALIASED = 100_000
"""Nodes that aliases may add to a document."""
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = {"str", "int", "float", "bool", "null"}
_PAIR = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)
"""A character beyond U+FFFF as JSON escapes it; YAML 1.2 holds JSON, and libyaml does not know it."""
FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def compose(text: Text, loader: Any = FAST) -> Node:
    """Return the one document of a text. Raises SpecError with the first problem of its syntax."""
    try:
        root = _Composer(text).document(yaml.parse(text.text, Loader=loader))
    except yaml.YAMLError as error:
        # JSON writes a character beyond U+FFFF as two escapes, where YAML wants one; only a text
        # that cannot be read otherwise is looked through for them.
        joined = _PAIR.sub(
            lambda pair: (
                f"\\U{0x10000 + ((int(pair[1], 16) - 0xD800) << 10) + int(pair[2], 16) - 0xDC00:08x}"
            ),
            text.text,
        )
        if "Unicode character escape" in str(error) and joined != text.text:
            return compose(Text(text.label, joined), loader)
        raise SpecError([syntax_problem(error, text)]) from None
    if root is None or (root.kind == "scalar" and root.value is None):
        hint = "`arcli init` writes a first one"
        raise SpecError([text.problem("the spec is empty", 0, 0, hint)])
    return root


class _Composer:
    """Builds the tree with a stack of its own, so that no nesting exhausts Python's."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._anchors: dict[str, Node | None] = {}
        self._sizes: dict[int, int] = {}
        self._aliased = 0
        self._open: list[tuple[Node, str | None, list[Node]]] = []
        self._root: Node | None = None

    def document(self, events: Iterator[Any]) -> Node | None:
        """Take the events of a stream with one document."""
        # Events of PyYAML's parser, since its own composer knows neither duplicate keys nor bounds.
        for event in events:
            match event:
                case yaml.DocumentStartEvent() if self._root is not None:
                    self._fail(event, "a second document; a spec is one", "remove the `---`")
                case yaml.ScalarEvent():
                    self._place(self._scalar(event))
                case yaml.AliasEvent():
                    self._place(self._alias(event))
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._start(event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    node, anchor, parts = self._open.pop()
                    node.value = parts if node.kind == "list" else self._entries(parts)
                    # The size counts what is behind aliases, too: that is what they add again.
                    self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in parts)
                    if anchor is not None:
                        self._anchors[anchor] = node
                    self._place(node)
        return self._root

    def _node(self, event: Any, kind: Any, value: Any) -> Node:
        return Node(kind, value, self._text, event.start_mark.line, event.start_mark.column)

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        node = self._node(event, "scalar", event.value)
        node.raw = event.value
        node.block = event.style in {"|", ">"}
        node.plain = event.style is None or event.style == ""
        # A tag says what a value is; without one a plain scalar is read by the core rules of YAML
        # 1.2. A lone `!` makes it text: https://yaml.org/spec/1.2.2/#node-tags
        tag = (event.tag or "").removeprefix(_TAG)
        try:
            if tag in {"", "!"}:
                node.value = scalars.resolve(event.value) if node.plain and not tag else event.value
            elif tag in _SCALAR_TAGS:
                node.value = scalars.tagged(tag, event.value)
            else:
                self._tag(event, tag)
        except ValueError as error:
            self._fail(event, str(error))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._sizes[id(node)] = 1
        return node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        if event.anchor not in self._anchors:
            from arcli.specfile.hints import undefined_alias

            raise SpecError([undefined_alias(event, self._text)])
        # Its anchor is known but not its node while that is being read: `&a [*a]` would have no end.
        node = self._anchors[event.anchor]
        if node is None:
            self._fail(event, f"*{event.anchor} stands inside of what it stands for")
        # Aliases of aliases grow without bound:
        # https://en.wikipedia.org/wiki/Billion_laughs_attack
        self._aliased += self._sizes[id(node)]
        if self._aliased > MOST_ALIASED:
            self._fail(event, f"aliases add more than {MOST_ALIASED:,} values to the spec")
        return node

    def _start(self, event: Any) -> None:
        """Open a map or a list; what comes until its end is a part of it."""
        is_map = isinstance(event, yaml.MappingStartEvent)
        tag = (event.tag or "").removeprefix(_TAG)
        if tag not in {"", "!", "map" if is_map else "seq"}:
            self._tag(event, tag)
        if len(self._open) >= DEEPEST:
            self._fail(event, f"nested more than {DEEPEST} levels deep")
        node = self._node(event, "map" if is_map else "list", {} if is_map else [])
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append((node, event.anchor, []))

    def _entries(self, parts: list[Node]) -> dict[Any, Entry]:
        """Return a map's entries of its keys and values in turn. Raises SpecError."""
        entries: dict[Any, Entry] = {}
        for key, value in zip(parts[::2], parts[1::2], strict=True):
            if key.kind != "scalar":
                hint = "quote it if braces or brackets are part of the text"
                raise SpecError([key.problem(f"a {key.kind} cannot be a key", hint)])
            # Read as text it would be a key that nobody knows, and nobody would know why.
            if key.plain and key.raw == "<<":
                hint = "YAML 1.2 has none; what jobs share goes under `defaults:`"
                raise SpecError([key.problem("a merge key (<<)", hint)])
            # The second one would silently win:
            # https://yaml.org/spec/1.2.2/#3213-node-comparison
            if key.value in entries:
                first = entries[key.value].key
                message = f"the key {key.raw!r} is there twice, first in line {first.line + 1}"
                raise SpecError([key.problem(message)])
            entries[key.value] = Entry(key, value)
        return entries

    def _place(self, node: Node) -> None:
        if self._open:
            self._open[-1][2].append(node)
        else:
            self._root = node

    def _tag(self, event: Any, tag: str) -> NoReturn:
        short = f"!!{tag}" if event.tag and event.tag.startswith(_TAG) else tag
        self._fail(event, f"the tag {short} is not allowed", "a spec is plain data")

    def _fail(self, event: Any, message: str, hint: str = "") -> NoReturn:
        mark = event.start_mark
        raise SpecError([self._text.problem(message, mark.line, mark.column, hint)])
