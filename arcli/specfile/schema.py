"""The JSON Schema of specs, for editors."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from arcli.engine.functions import in_parts
from arcli.fields import PERCENT_FORM, Model
from arcli.inputs.over import INPUT, with_other_packages
from arcli.inputs.registry import inputs, kind_of
from arcli.record import JOB_NAME, KINDS
from arcli.specfile.model import Policy, SpecFile

_LATER = {"type": "string", "pattern": r"\$\{"}
"""Any value may be a ``${…}``, whatever its type is once it is known."""
_SHORT_FORMS: dict[str, list[dict[str, Any]]] = {
    "Over": [{"type": "array"}],
    "Scatter": [{"$ref": "#/$defs/Over"}],
    "Output": [{"type": "string"}],
    "Artifact": [{"type": "string"}],
    "Share": [{"type": "integer"}, PERCENT_FORM],
}


class _Generator(GenerateJsonSchema):
    """Classes that only stand for what is not known yet are a ``${…}`` in a file."""

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> JsonSchemaValue:
        """See pydantic."""
        return dict(_LATER)


def json_schema() -> dict[str, Any]:
    """Return what an editor needs to complete and check a spec, in either of its forms."""
    models_: list[type[Model]] = [SpecFile, Policy, with_other_packages(), *inputs().values()]
    _, schema = models_json_schema(
        [(model, "validation") for model in models_], schema_generator=_Generator
    )
    schema = _with_references(schema)
    classes = {model.__name__: model for model in _below(Model)}
    for name, part in schema["$defs"].items():
        if name in classes:
            _describe(part, classes[name])
    models = {name: _tidy(model) for name, model in schema["$defs"].items()}
    short = {
        kind.__name__: [models[kind.__name__]["properties"][kind.short]]
        for kind in inputs().values()
        if kind.short
    }
    for name, forms in {**_SHORT_FORMS, **short}.items():
        models[name] = {"anyOf": [*forms, dict(_LATER), models[name]]}
    # A single job's keys may stand at the top, so the top is the union of both.
    spec, job = models.pop("SpecFile"), models["Job"]
    keys = spec["properties"]
    over = next(form for form in models["Over"]["anyOf"] if "properties" in form)
    over["oneOf"] = [{"required": [source]} for source in inputs()]
    job.update(_one_call())
    keys["jobs"]["minItems"] = 1
    keys["notify"]["anyOf"].insert(0, {"$ref": "#/$defs/Notification"})
    job["properties"]["name"] |= {"pattern": f"^{JOB_NAME.pattern}$"}
    defaults = {"$ref": "#/$defs/Policy", "description": "Policy of all jobs that do not say otherwise."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:arcli:spec:1",
        "title": "A spec of arcli",
        "description": "Several jobs under `jobs`, or one job's keys at the top.",
        "type": "object",
        "properties": {**job["properties"], **keys, "defaults": defaults},
        "additionalProperties": False,
        "anyOf": [{"required": ["jobs"]}, _one_call()],
        "$defs": models,
    }


def _with_references(part: Any) -> Any:
    """Return a schema that refers to those of inputs, where it only has their keys."""
    if not isinstance(part, dict) or INPUT not in part:
        return in_parts(part, _with_references)
    name = "Over" if part[INPUT] == "over" else kind_of(part[INPUT]).__name__
    return {**{key: part[key] for key in part if key != INPUT}, "$ref": f"#/$defs/{name}"}


def _below(model: type[Model]) -> Iterator[type[Model]]:
    """Yield all models, in whatever package they are."""
    for below in model.__subclasses__():
        yield below
        yield from _below(below)


def _describe(schema: dict[str, Any], model: type[Model]) -> None:
    """Put into a model's schema what is written below each of its fields.

    pydantic reads these texts, too, but as each class is made, which every start would pay for:
    https://docs.pydantic.dev/latest/concepts/fields/#field-metadata. An input is told by its class.
    """
    texts = {}
    for base in reversed(model.__mro__):
        if base is not Model and issubclass(base, Model):
            texts.update(_written_below(base))
    for field, info in model.model_fields.items():
        key = info.alias or field
        text = texts.get(field)
        if field == f"{key}_" and key in inputs():
            text = (inspect.getdoc(inputs()[key]) or "").partition("\n\n")[0]
        if text and key in schema.get("properties", {}):
            schema["properties"][key]["description"] = " ".join(text.split())


def _written_below(model: type[Model]) -> dict[str, str]:
    """Return the text below each field of a class; none for one that was made without a source."""
    # A model that was made by `create_model`, or in a zipped package, has no source to read.
    try:
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    except (OSError, TypeError, SyntaxError):
        return {}
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: text.value.value
        for field, text in pairwise(body.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _one_call() -> dict[str, Any]:
    """Return one thing that is called, with items unless it is an apply."""
    items = {way: ["over"] for way in KINDS if way != "apply"}
    no_items = {"if": {"required": ["apply"]}, "then": {"not": {"required": ["over"]}}}
    return {"oneOf": [{"required": [way]} for way in KINDS], "dependentRequired": items, **no_items}


def _tidy(model: dict[str, Any]) -> dict[str, Any]:
    """Return a model's schema without Python's names for things, open for ``${…}``."""
    if "properties" not in model:
        return model
    properties = {name: _value(part) for name, part in model["properties"].items()}
    tidy = {key: part for key, part in model.items() if key != "title"}
    return {**tidy, "properties": properties}


def _value(part: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one value."""
    part = {
        key: inner
        for key, inner in part.items()
        if key != "title" and not (key == "default" and inner is None)
    }
    # Nested choices are one flat choice, each form once.
    if "anyOf" in part:
        choices = [_value(choice) for choice in part.pop("anyOf")]
        flat = [inner for choice in choices for inner in choice.get("anyOf", [choice])]
        unique = [choice for at, choice in enumerate(flat) if choice not in flat[:at]]
        return {**part, "anyOf": unique} if len(unique) > 1 else {**part, **unique[0]}
    for key in ("items", "additionalProperties"):
        if isinstance(part.get(key), dict) and part[key]:
            part[key] = _value(part[key])
    # Any text may have a `${…}` already, but for a text of a pattern; null says nothing.
    narrow = {"enum", "const", "pattern"} & set(part)
    plain = part.get("type") in ("string", "null") and not narrow
    if plain or part == _LATER or not ({"type", "enum", "const"} & set(part)):
        return part
    beside = _about(part)
    return {**beside, "anyOf": [{k: v for k, v in part.items() if k not in beside}, dict(_LATER)]}


def _about(part: dict[str, Any]) -> dict[str, Any]:
    """Return what a schema says beside which values are allowed."""
    return {key: part[key] for key in ("default", "description") if part.get(key) is not None}
