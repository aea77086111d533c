"""Which of a spec's jobs are run, and what can be known of their inputs before anything is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from msgspec import Struct

from arcli.errors import InputError, Problem, SpecError, UsageError
from arcli.fields import deferred_values, jobs_in
from arcli.inputs import Over, Source, SourceContext
from arcli.inputs.base import unread
from arcli.inputs.python import loader
from arcli.plan import outdirs
from arcli.plan.deferred import Resolver
from arcli.specfile.checks import order
from arcli.specfile.model import Job, Spec
from arcli.suggest import near_or_all
from arcli.syntax import used_names
from arcli.timing import thresholds


def only(spec: Spec, names: Sequence[str]) -> Spec:
    """Return the spec with the named jobs and those that they need, in its order. Raises UsageError.

    Outputs of other jobs are left out, so that what they hold stays as it is, and so is what is expected
    of their figures.
    """
    jobs = {job.name: job for job in spec.jobs}
    chosen: set[str] = set()
    waiting = list(names)
    # Whatever a chosen job builds on is chosen, too, by what it needs and by the
    # names that it uses.
    while waiting:
        name = waiting.pop()
        if name not in jobs:
            hint = near_or_all(name, jobs)
            raise UsageError(f"there is no job {name!r} in {spec.file}", hint=hint)
        if name not in chosen:
            chosen.add(name)
            job = jobs[name]
            waiting += [*job.needs, *sources(job.over), *valued(job), *pushed(job, spec)]
    # Files of jobs that do not run stay as they are.
    kept = [job for job in spec.jobs if job.name in chosen]
    output = [output for output in spec.output if output.job is None or output.job in chosen]
    expect = [text for text in spec.expect if thresholds.parse(text).job in {None, *chosen}]
    return spec.model_copy(update={"jobs": kept, "output": output, "expect": expect})


def sources(over: Over | None) -> Iterator[str]:
    """Yield the jobs that an input takes values from."""
    for _, part in over.walk() if over is not None else ():
        yield from part.input.jobs()


def pushed(job: Job, spec: Spec) -> Iterator[str]:
    """Yield the jobs whose ``push_as`` names a job uses, or may use, where that cannot be known."""
    # Where the names that a function uses cannot be known, every job that pushes one may be needed.
    used = _used(job, spec)
    # Of several jobs that push under one name the last before this one counts.
    pushers: dict[str, str] = {}
    for other in spec.jobs:
        if other.name == job.name:
            break
        if other.push_as is not None and (used is None or other.push_as in used):
            pushers[other.push_as] = other.name
    yield from pushers.values()


def is_gathered(job: Job, spec: Spec) -> bool:
    """Tell whether what a job's items do on the engines is, or may be, gathered there: by it, or later."""
    return any(job.name in gathered_from(other, spec) for other in spec.jobs if other.gather is not None)


def gathered_from(job: Job, spec: Spec) -> Iterator[str]:
    """Yield the jobs whose items change, or may change, what a job gathers: it, and those before it."""
    for other in spec.jobs:
        if other.name == job.name:
            yield job.name
            break
        used = _used(other, spec)
        if used is None or job.gather in used:
            yield other.name


def _used(job: Job, spec: Spec) -> set[str] | None:
    """Return names of the engines' namespace that a job uses; None where that cannot be known."""
    used = used_names([*job.functions.values()], spec.setup.run)
    # A reference may go into the value (`${ref.model.weights}`): its first part is the name.
    trees = [getattr(job, key) for key in order.LATE]
    refs = {late.name.partition(".")[0] for late in deferred_values(trees) if late.kind == "ref"}
    return None if used is None else used | refs


def valued(job: Job) -> Iterator[str]:
    """Yield the jobs whose ``${jobs.NAME.value}`` stands somewhere in a job."""
    yield from (name for _, name in order.valued(job))


def needs_values(job: Job, spec: Spec) -> bool:
    """Tell whether something will work with the job's real values, and not only show them."""
    if job.folds or job.push_as is not None:
        return True
    return any(job.name in {*sources(other.over), *valued(other)} for other in spec.jobs)


class Preview(Struct, frozen=True, kw_only=True):
    """A job and its items. ``source`` is None for an apply, and where only the run will tell."""

    job: Job
    source: Source | None


def preview(spec: Spec, *, slots: int | None = None, stdin: BinaryIO | None = None) -> list[Preview]:
    """Return every job with its source, opened and not read.

    ``slots`` is the number of engines, if it is known: then sources that depend on it are opened,
    too; these read ``stdin``, None where it is closed. Raises SpecError with the place of each of these
    that is wrong, and of missing engines.
    """
    previews: list[Preview] = []
    problems: list[Problem] = []
    # What the check has opened already is used as it is: a pipe can be read only once, and a glob
    # walked twice might differ. What it left to the number of engines is opened now, if that is known,
    # but for inputs that an earlier job's value decides: only the run has that.
    for job in spec.jobs:
        source = spec.sources.get(job.name)
        if source is None and job.over is not None and slots is not None and not [*jobs_in(job.over)]:
            try:
                source = job.open_items(_context(spec, job, slots, stdin))
            except InputError as error:
                place = ("jobs", job.name, "over", *error.path)
                problems.append(spec.places.problem(error.message, *place, hint=error.hint))
        # Two items with one folder are told before any has run, where the items can be walked.
        twins = None if source is None else outdirs.problem_of(job, source, spec.folder)
        if twins is not None:
            problems.append(spec.places.problem(twins, "jobs", job.name, "outdir", hint=outdirs.hint(job)))
        # Engines that a job names must be there; they are counted as slots, from 0 on.
        targets = job.targets if isinstance(job.targets, list) and slots is not None else []
        for number, slot in enumerate(targets):
            if slots is not None and slot >= slots:
                hint = f"there {'are' if slots > 1 else 'is'} {slots}, from 0 on"
                place = ("jobs", job.name, "targets", number)
                problems.append(spec.places.problem(f"there is no engine {slot}", *place, hint=hint))
        previews.append(Preview(job=job, source=source))
    if problems:
        raise SpecError(problems)
    return previews


def _context(spec: Spec, job: Job, slots: int, stdin: BinaryIO | None) -> SourceContext:
    values: dict[str, Any] = {}  # of jobs: what would need them is left out
    return SourceContext(
        folder=spec.folder,
        stdin=stdin,
        jobs={job.name: unread for job in spec.jobs},
        resolve=Resolver(slots, values.__getitem__),
        load_callable=loader(spec.folder, spec.setup.path),
        python=spec.cluster.python,
        texts=job.kind == "command",
    )
