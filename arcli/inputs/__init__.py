"""Where items come from: one file for each kind of input, a registry, and what combines them."""

from arcli.inputs.base import Input, Source, SourceContext
from arcli.inputs.over import Over

__all__ = ["Input", "Over", "Source", "SourceContext"]
