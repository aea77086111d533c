"""What CI systems read of a run: annotations, folded lines, the summary of a job.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from arcli.escape import plain
from arcli.outputs.base import Output
from arcli.outputs.markdown import summary_text
from arcli.outputs.stream import Stream
from arcli.outputs.target import writing
from arcli.record import RecordBatch
from arcli.timing.failures import item_words
from arcli.timing.summary import RunSummary
from arcli.timing.words import beside_items

Ci = Literal["github", "gitlab"]
CiMode = Literal["auto", "github", "gitlab", "never"]
ANNOTATIONS = 10
"""Kinds of failures that are annotated: GitHub shows no more of a step."""
_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def detect(mode: CiMode, environ: Mapping[str, str]) -> Ci | None:
    """Find out which CI system this is, None for none."""
    if mode == "auto":
        known: dict[str, Ci] = {"GITHUB_ACTIONS": "github", "GITLAB_CI": "gitlab"}
        return next((ci for name, ci in known.items() if environ.get(name) == "true"), None)
    return None if mode == "never" else mode


class FoldedLines(Output):
    """Folds the lines of results that another output writes to ``stream`` after this one."""

    def __init__(self, stream: Stream, ci: Ci) -> None:
        self._stream = stream
        self._ci = ci
        self._open = False

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        if not self._open:
            self._open = True
            head = f"\x1b[0Ksection_start:{time.time():.0f}:arcli_items[collapsed=true]\r\x1b[0Kitems\n"
            self._stream.command("::group::items\n" if self._ci == "github" else head)

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        if self._open:
            tail = f"\x1b[0Ksection_end:{time.time():.0f}:arcli_items\r\x1b[0K\n"
            self._stream.command("::endgroup::\n" if self._ci == "github" else tail)


class GithubOutput(Output):
    """Annotates the kinds of failures at the user's own lines, and adds to the step's summary."""

    def __init__(self, stream: Stream, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self._summary = environ.get("GITHUB_STEP_SUMMARY")
        self._workspace = environ.get("GITHUB_WORKSPACE") or os.curdir

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        self._stream.command("".join(f"{line}\n" for line in self._annotations(summary)))
        if self._summary:
            with writing(self._summary), Path(self._summary).open("a", encoding="utf-8") as file:
                file.write(summary_text(summary))

    def _annotations(self, summary: RunSummary) -> Iterator[str]:
        for job, group in summary.failures()[:ANNOTATIONS]:
            where = ""
            if group.place is not None:
                path, _, line = group.place.rpartition(":")
                where = f"file={self._inside(path).translate(_PROPERTY)},line={line},"
            title = f"{job}: {group.count:,} failed".translate(_PROPERTY)
            words = f"{group.title} ({item_words(group)})".translate(_DATA)
            yield f"::error {where}title={title}::{words}"
        for about, sentence in beside_items(summary):
            title = (about or summary.name).translate(_PROPERTY)
            yield f"::error title={title}::{plain(sentence).translate(_DATA)}"

    def _inside(self, path: str) -> str:
        """A path as GitHub knows it, relative to the workspace where it is below it."""
        try:
            return str(Path(path).relative_to(Path(self._workspace).absolute()))
        except ValueError:
            return path
