"""arcli: batches of functions and commands, in parallel, from a YAML spec."""

__version__ = "0.1.0"
