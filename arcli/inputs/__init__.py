"""Where items come from: a file for each kind of source, a registry, and what combines them."""

from arcli.inputs.base import Input, Source, SourceContext
from arcli.inputs.over import Over

__all__ = ["Input", "Over", "Source", "SourceContext"]
