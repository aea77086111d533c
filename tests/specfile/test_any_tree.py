"""Any tree of YAML is a spec or a spec error, soon, and in bounded memory."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import BASES, KEYS, TEXTS

from arcli.errors import SpecError
from arcli.specfile.load import load

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 3),
    st.sampled_from([10**12, 10**30, 1e308, 0.5, float("inf")]),
    st.sampled_from(TEXTS), st.text(max_size=5),
)  # fmt: skip
trees = st.recursive(
    scalars,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3), st.dictionaries(st.sampled_from(KEYS), parts, max_size=4)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module", autouse=True)
def folder() -> Iterator[None]:
    """A working folder with a table and a pipe that nobody writes to."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        Path("t.csv").write_text("a,b\n1,2\n")
        os.mkfifo("pipe")
        yield
        os.chdir(before)


def loads(text: str) -> bool:
    """Whether a text is a spec; it raises whatever is no error of the spec."""
    Path("spec.yaml").write_text(text, "utf-8", "backslashreplace")
    try:
        load("spec.yaml", environ={"HOME": "/"})
    except SpecError as error:
        return not error.problems
    return True


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(BASES), st.dictionaries(st.sampled_from(KEYS), trees, min_size=1, max_size=3), st.data()
)
def test_any_tree_is_a_spec_or_a_spec_error(base: dict[str, Any], more: dict[str, Any], data: Any) -> None:
    place = json.loads(json.dumps(base))
    tree = place
    # Keys are put into a map of a right spec, so that what is wrong stands beside what is right.
    while below := [part for part in _parts(place) if isinstance(part, dict)]:
        if data.draw(st.booleans()):
            break
        place = data.draw(st.sampled_from(below))
    place.update(more)
    loads(json.dumps(tree))


def _parts(tree: Any) -> list[Any]:
    parts = list(tree.values()) if isinstance(tree, dict) else list(tree)
    return parts + [part for each in parts if isinstance(each, list) for part in each]


LONG = "n" * 5000
REFUSED = [
    f"map: str\nover: {{lines: {LONG}}}\n",
    f"map: {LONG}.py:f\nover: [1]\n",
    f"map: str\nover: {{python: {LONG}.py:f}}\n",
    f"command: ls\ncwd: {LONG}\nover: [1]\n",
    f"notebook: {LONG}\nover: [{{a: 1}}]\n",
    f"map: str\nover: [1]\nsetup: {{files: [{LONG}], path: [{LONG}]}}\n",
    'map: str\nover: [1]\noutput: ["a\\0.csv"]\n',
    "notebook: pipe\nover: [{a: 1}]\n",
    "notebook: /dev/zero\nover: [{a: 1}]\n",
    'map: str\nover: [1]\ncluster: {env: {1: "${env.HOME}"}}\n',
    "params: {a: {engines: 2, nope: 1}}\ncluster: ${params.a}\nmap: str\nover: [1]\n",
    "map: str\nover: {glob: '" + "{a,b}" * 40 + "'}\n",
    "map: str\nover: {csv: {path: t.csv, delimiter: \"\\n\"}}\n",
    "map: str\nover: [1]\nfile: x\n",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_what_the_system_refuses_is_an_error_of_the_spec(text: str) -> None:
    assert not loads(text)


LARGE = [
    "command: echo {a}\nover: {csv: pipe}\n",
    "command: cat {x}\nover: {csv: /dev/zero}\n",
    "map: str\nover: {range: 1000000000000, exclude: [a, 0.5]}\n",
    "map: str\nover: {range: 1000000000, sample: {n: 100000000}}\n",
    "map: str\nover: {product: {a: {range: 1000000000}, b: [1]}, exclude: [{b: 1}]}\n",
    'map: str\nover: {range: "${engines.count}"}\n',
    'map: str\nover: {product: {a: {list: "${engines.slots}"}, b: [1]}}\n',
    '{"map": "str", "over": ["\\ud83d\\ude00", 1]}',
]  # fmt: skip


@pytest.mark.parametrize("text", LARGE, ids=lambda text: text[:50])
@pytest.mark.timeout(60)
def test_what_is_right_is_not_read_to_its_end(text: str) -> None:
    assert loads(text)
