"""Sources of items, as a spec's ``over`` describes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arcli.inputs import SourceContext, build_source
from arcli.plan.loading import loader
from arcli.specfile.model import Over, Spec


def source(over: Any, folder: Path = Path(), **more: Any) -> Any:
    """The source that ``over`` describes, in a folder."""
    model = Over.model_validate({"list": over} if isinstance(over, list) else over)
    return build_source(model, SourceContext(folder=folder, **more))


def generated(over: Any, folder: Path, **more: Any) -> Any:
    """The same, with generators that are found as a run finds them."""
    spec = Spec(name="spec", jobs=[], file="spec.yaml", folder=folder)
    return source(over, folder, load_callable=loader(spec), **more)
