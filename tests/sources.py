"""Sources of items, as a spec's ``over`` describes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arcli.inputs import Over, SourceContext
from arcli.inputs.python import loader


def source(over: Any, folder: Path = Path(), **more: Any) -> Any:
    """The source that ``over`` describes, in a folder."""
    model = Over.model_validate({"list": over} if isinstance(over, list) else over)
    return model.open(SourceContext(folder=folder, **more))


def generated(over: Any, folder: Path, **more: Any) -> Any:
    """The same, with generators that are found as a run finds them."""
    return source(over, folder, load_callable=loader(folder), **more)
