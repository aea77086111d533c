"""The files of ``setup: files``: what engines are sent, and what is taken away at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from arcli.errors import InputError
from arcli.specfile.model import Spec


def to_engines(spec: Spec) -> dict[str, tuple[bytes, int]]:
    """Return what is in each file, and its mode."""
    paths = {name: spec.folder / name for name in spec.setup.files}
    return {name: (path.read_bytes(), path.stat().st_mode & 0o777) for name, path in paths.items()}


@contextmanager
def setup_files(spec: Spec) -> Iterator[None]:
    """Around a run: what engines of this host put into the working directory is gone afterwards.

    Raises InputError where something else is there already: it is the user's. What engines of
    other hosts wrote into folders of their own stays there.
    """
    new: list[str] = []
    for name in spec.setup.files:
        target, origin = Path(name), spec.folder / name
        if not target.exists():
            new.append(name)
        elif not target.is_file() or target.read_bytes() != origin.read_bytes():
            raise InputError(
                f"setup: files: {name} is another file in the working directory than beside the spec",
                hint=f"arcli does not replace {target.absolute()}: move it, or run elsewhere",
            )
    # What the run made it takes away again, down to folders, but nothing that was
    # changed meanwhile.
    folders = {part for name in new for part in Path(name).parents if not part.exists()}
    try:
        yield
    finally:
        for name in new:
            with suppress(OSError):
                if Path(name).read_bytes() == (spec.folder / name).read_bytes():
                    Path(name).unlink()
        for folder in sorted(folders, reverse=True):
            with suppress(OSError):
                folder.rmdir()
