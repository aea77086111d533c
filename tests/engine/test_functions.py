"""From the text of a function to something that is called with an item."""

from __future__ import annotations

import json
import os
import pickle
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arcli.engine.constants import Constants, caller, with_references
from arcli.engine.functions import (
    Unresolved,
    assembled,
    import_into,
    kind_of,
    raising,
    resolve,
)

MODULE = """
LOADS = []

def double(x):
    return 2 * x

class Box:
    @staticmethod
    def open(x):
        return [x]

def numbers(n):
    yield from range(n)

async def later(x):
    return x + 1

async def stream(n):
    for number in range(n):
        yield number

class Item:
    pass

constant = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with functions; what is loaded from it is forgotten afterwards."""
    (tmp_path / "arcli_test_functions.py").write_text(MODULE)
    (tmp_path / "with space").mkdir()
    (tmp_path / "with space" / "arcli_test_other.py").write_text("def f(x):\n    return -x\n")
    (tmp_path / "arcli_test_broken.py").write_text("import nothing_of_this_name\n")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("arcli_test_"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("math:sqrt", "module"),
        ("os.path:join", "module"),
        ("package.module:Class.method", "module"),
        (" math:sqrt\n", "module"),
        ("work.py:f", "file"),
        ("dir/work.py:f", "file"),
        ("/abs/with space/work.py:Class.f", "file"),
        ("lambda x: x", "expression"),
        ("lambda x: {'a': x}", "expression"),
        ("math.sqrt", "expression"),
        ("abs", "expression"),
        ("math:", "expression"),
        ("1math:sqrt", "expression"),
        ("d[1:2]", "expression"),
    ],
)
def test_kinds(text: str, kind: str) -> None:
    assert kind_of(text) == kind


def test_modules_files_and_expressions(folder: Path) -> None:
    assert resolve("math:sqrt", {}, "")(9) == 3
    assert resolve("os.path:basename", {}, "")("a/b") == "b"
    assert resolve("builtins:str.upper", {}, "")("a") == "A"
    assert resolve("arcli_test_functions.py:double", {}, str(folder))(4) == 8
    assert resolve("arcli_test_functions.py:Box.open", {}, str(folder))(4) == [4]
    assert resolve("with space/arcli_test_other.py:f", {}, str(folder))(1) == -1
    assert resolve(f"{folder}/arcli_test_functions.py:double", {}, "/")(1) == 2
    assert resolve("lambda x: x + offset", {"offset": 10}, "")(1) == 11


def test_an_expression_sees_what_the_namespace_holds_when_it_is_called() -> None:
    namespace: dict[str, Any] = {"offset": 1}
    function = resolve("lambda x: x + offset", namespace, "")
    namespace["offset"] = 2
    assert function(1) == 3


def test_a_file_is_loaded_once_and_its_classes_travel(folder: Path) -> None:
    first = resolve("arcli_test_functions.py:Item", {}, str(folder))
    assert resolve("arcli_test_functions.py:Item", {}, str(folder)) is first
    assert type(pickle.loads(pickle.dumps(first()))) is first


def test_a_file_does_not_take_the_place_of_a_module_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("def dumps(x):\n    return 'mine'\n")
    module = sys.modules["json"]
    assert resolve("json.py:dumps", {}, str(tmp_path))(1) == "mine"
    assert sys.modules["json"] is module
    assert resolve("json:dumps", {}, str(tmp_path))(1) == "1"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("math:square_root", Unresolved, "'math' has no 'square_root'"),
        ("math:pi", Unresolved, "is float, which cannot be called"),
        ("3 + 4", Unresolved, "is int, which cannot be called"),
        ("missing.py:f", Unresolved, "there is no file"),
        ("arcli_test_functions.py:nobody", Unresolved, "has no 'nobody'"),
        ("arcli_test_functions.py:constant", Unresolved, "cannot be called"),
        ("no_module_of_this_name:f", ModuleNotFoundError, "no_module_of_this_name"),
        ("arcli_test_broken.py:f", ModuleNotFoundError, "nothing_of_this_name"),
        ("unknown_name", NameError, "unknown_name"),
        ("lambda x", SyntaxError, "<string>"),
    ],
)
def test_what_leads_nowhere_says_so(folder: Path, text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        resolve(text, {}, str(folder))
    assert "arcli_test_broken" not in sys.modules


def test_generators_and_coroutines_become_values(folder: Path) -> None:
    for text, value in [("numbers", [0, 1, 2]), ("later", 4), ("stream", [0, 1, 2])]:
        assert resolve(f"arcli_test_functions.py:{text}", {}, str(folder))(3) == value


def test_an_error_that_is_every_items_does_not_grow() -> None:
    def depth(error: BaseException) -> int:
        return len(traceback.extract_tb(error.__traceback__))

    call = raising(ValueError("broken"))
    depths = []
    for _ in range(3):
        with pytest.raises(ValueError, match="broken") as caught:
            call(1)
        depths.append(depth(caught.value))
    assert len(set(depths)) == 1


def test_references_are_looked_up_wherever_they_stand() -> None:
    tree = [("ref", "a + 1"), {"k": ("text", ["x", ("ref", "a"), "y"])}, "plain", 5]
    assert with_references(tree, {"a": 2}) == [3, {"k": "x2y"}, "plain", 5]
    with pytest.raises(NameError):
        with_references(("ref", "missing"), {})


def show(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@pytest.mark.parametrize(
    ("unpack", "item", "called"),
    [
        ("none", 1, ((1, 8), {"k": 9})),
        ("args", [1, 2], ((1, 2, 8), {"k": 9})),
        ("kwargs", {"a": 1}, ((8,), {"k": 9, "a": 1})),
        ("kwargs", {"k": 1}, ((8,), {"k": 1})),
        ("nothing", None, ((8,), {"k": 9})),
    ],
)
def test_how_an_item_becomes_arguments(unpack: str, item: Any, called: Any) -> None:
    assert caller(show, unpack, [8], {"k": 9})(item) == called


def test_an_item_alone_is_passed_without_detours() -> None:
    assert caller(show, "none", [], {}) is show


def test_imports() -> None:
    namespace: dict[str, Any] = {}
    for statement in [
        "math",
        "os.path",
        "json as j",
        "from collections import deque as d",
        " sys ",
    ]:
        import_into(namespace, statement)
    assert namespace["math"].sqrt(4) == 2
    assert namespace["os"] is os
    assert namespace["j"].dumps(1) == "1"
    assert namespace["d"].__name__ == "deque"
    assert namespace["sys"] is sys


WRAPPED = """
import functools

def wrap(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)
    return inner

@wrap
def numbers(n):
    yield from range(n)

async def later(n):
    return n + 1

async def stream(n):
    for number in range(n):
        yield number

async def made(n, how=numbers):
    return how(n)

class Yields:
    def __call__(self, n):
        yield n

class Awaits:
    async def __call__(self, n):
        return n
"""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lambda n: numbers(n)", [0, 1, 2]),
        ("lambda n: later(n)", 4),
        ("lambda n: stream(n)", [0, 1, 2]),
        ("lambda n: (i for i in range(n))", [0, 1, 2]),
        ("numbers", [0, 1, 2]),
        ("Yields()", [3]),
        ("Awaits()", 3),
        ("made", [0, 1, 2]),
        ("lambda n: made(n, stream)", [0, 1, 2]),
        ("lambda n: made(n, later)", 4),
        ("iter", "range_iterator"),
    ],
)
def test_what_came_back_decides_and_not_what_was_declared(text: str, value: Any) -> None:
    namespace: dict[str, Any] = {}
    exec(WRAPPED, namespace)
    if text == "iter":
        assert type(resolve(text, namespace, "")(range(3))).__name__ == value
    else:
        assert resolve(text, namespace, "")(3) == value


@pytest.mark.parametrize("name", ["random", "json"])
def test_classes_of_a_file_travel_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("class Item:\n    pass\n")
    item = resolve(f"{name}.py:Item", {}, str(tmp_path))()
    again = resolve(f"{name}.py:Item", {}, str(tmp_path))()
    assert type(pickle.loads(pickle.dumps(item))) is type(item) is type(again)


def test_two_files_of_one_name(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        text = f"class Model:\n    where = {folder!r}\n"
        (tmp_path / folder / "arcli_test_model.py").write_text(text)
    models = [resolve(f"{where}/arcli_test_model.py:Model", {}, str(tmp_path))() for where in "ab"]
    assert [pickle.loads(pickle.dumps(model)).where for model in models] == ["a", "b"]


def texts(value: Any) -> Any:
    """A value as one part of JSON."""
    return [(None, json.dumps(value), None)]


def pickles(value: Any) -> Any:
    """A value as one part that is a pickle."""
    return [(None, None, pickle.dumps(value))]


def test_values_that_are_handed_on_are_not_looked_into() -> None:
    real = {("ref", "a"): [("text", "b")]}
    text = ("text", ["<", ("value", "list", [(0, "1", None), (1, None, pickle.dumps({2}))]), ">"])
    kwargs = {"real": ("value", "one", pickles(real)), "ref": {"k": ("ref", "a")}, "text": text}
    values = Constants([], kwargs).values({"a": 2})
    assert values == {"real": real, "ref": {"k": 2}, "text": "<[1, {2}]>"}
    assert assembled("dict", [(1, '"a"', None)]) == {1: "a"}
    assert assembled("joined", [(True, "[1, 2]", None), (False, "[3]", None)]) == [1, 2, [3]]


@pytest.mark.parametrize(
    ("handed", "value"),
    [
        (("value", "one", texts([1])), [1]),
        (("value", "one", pickles(Counter("ab"))), Counter("ab")),
        (("value", "one", pickles({(1, 2): [3]})), {(1, 2): [3]}),
        (("value", "list", [(0, "[1]", None), *pickles(bytearray(b"a"))]), [[1], bytearray(b"a")]),
        (("value", "dict", [("a", "[1]", None)]), {"a": [1]}),
        (("value", "joined", [(True, "[[1]]", None)]), [[1]]),
        ([[1], {"a": 2}], [[1], {"a": 2}]),
    ],
)
def test_each_call_has_constants_of_its_own(handed: Any, value: Any) -> None:
    """No call sees what another one did to them, else it would matter which calls share an engine."""
    seen: list[Any] = []

    def spoil(item: int, argument: Any, *, inside: dict[str, Any]) -> None:
        for each in (argument, inside["here"]):
            seen.append(pickle.loads(pickle.dumps(each)))
            for part in each if isinstance(each, list) else (each, *getattr(each, "values", list)()):
                if isinstance(part, list | bytearray):
                    part.append(7)
            each.clear()

    call = Constants([handed], {"inside": {"here": handed}}).caller(spoil, "none", {})
    for item in range(3):
        call(item)
    assert seen == [value] * 6


def test_what_nobody_can_change_is_not_made_again() -> None:
    data = os.urandom(1 << 15)
    for value, parts in [(data, pickles(data)), ("a" * 5000, texts("a" * 5000))]:
        call = Constants([("value", "one", parts)], {}).caller(lambda item, same: same, "none", {})
        assert call(1) == value
        assert call(1) is call(2)
