"""``arcli schema``: for editors."""

from __future__ import annotations

import click


@click.command("schema", short_help="Print the JSON Schema of specs.")
def command() -> None:
    """Print the JSON Schema of specs, with which editors complete and check them.

    An editor with the YAML language server takes it from a first line such as
    `# yaml-language-server: $schema=arcli.schema.json`.

    \b
    Examples:
      arcli schema > arcli.schema.json
    """
    import json

    from arcli.specfile.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
