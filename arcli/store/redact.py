"""What of a spec and a command line is not kept: values of the environment, and secrets by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from arcli.fields import Deferred, DeferredText
from arcli.specfile.model import Spec

MASK = "***"
SHORTEST = 3
"""Characters of a value that is looked for: shorter ones keep no secret, and stand everywhere."""
_SECRET_NAME = re.compile(r"pass|secret|token|credential|api_?key|private|(^|\.)env(\.|$)", re.IGNORECASE)
_ASSIGNS = {"-p", "--param", "--set"}
_JOINED = re.compile(r"(?P<flag>-p|--param=|--set=)(?P<assignment>[^=]+=.*)", re.DOTALL)


class Redaction:
    """Replaces ``secrets`` (the value by what is shown instead) wherever they stand in a text."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = {value: shown for value, shown in secrets.items() if len(value) >= SHORTEST}
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        """Take the secrets out of a text."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._secrets[match[0]], text)

    def variable(self, value: str) -> str:
        """Show a value of an environment: the ``${env.…}`` that it came from, or nothing of it."""
        text = self.text(value)
        return text if text != value else MASK

    def arguments(self, argv: Sequence[str]) -> list[str]:
        """Take the secrets out of a command line; also the values of what is called as secrets are."""
        shown: list[str] = []
        before = ""
        for word in argv:
            joined = _JOINED.fullmatch(word)
            if before in _ASSIGNS:
                shown.append(self._assignment(word))
            elif joined is not None:
                shown.append(joined["flag"] + self._assignment(joined["assignment"]))
            else:
                shown.append(self.text(word))
            before = word
        return shown

    def _assignment(self, word: str) -> str:
        name, equals, _ = word.partition("=")
        if equals and _SECRET_NAME.search(name):
            return f"{name}={MASK}"
        return self.text(word)


NOTHING_SECRET = Redaction({})


def redaction_of(spec: Spec) -> Redaction:
    """Find what is not to be kept of a spec.

    It is what ``${env.…}`` gave, and parameters that are called as secrets are or that go into an
    environment.
    """
    secrets = {value: f"${{env.{name}}}" for name, value in spec.variables.items()}
    environments = set(_environments(spec))
    for name, value in spec.params.items():
        text = str(value)
        if text not in secrets and (_SECRET_NAME.search(name) or text in environments):
            secrets[text] = MASK
    return Redaction(secrets)


def _environments(spec: Spec) -> Iterator[str]:
    """Yield the values of the variables that a spec sets for its engines and commands."""
    yield from spec.cluster.env.values()
    for job in spec.jobs:
        for value in job.env.values():
            if not isinstance(value, Deferred | DeferredText):
                yield value
