"""Run the examples whose output the documentation shows, and put what they print in its place.

``python docs/refresh.py`` rewrites the pages, ``--check`` fails where a page shows something else than what
is printed today, figures aside. An example is a ``console`` block after a comment ``<!-- shown -->``: its
commands are run in a terminal of 80 columns, in a folder that holds the files of its page so far.
A comment may label lines, ``<!-- shown: ① = ^job | ② = speed-up -->``: the first line that matches the
pattern and has no label yet gets it at its end.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COLUMNS, LINES = 80, 400
BLOCK = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"(<!-- shown(?::([^>]*))? -->\n\n?```console\n)(.*?)(^```$)", re.MULTILINE | re.DOTALL)


def main() -> int:
    """Rewrite or check all pages; returns 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 where a page is stale")
    check = parser.parse_args().check
    stale = 0
    for page in PAGES:
        text = page.read_text("utf-8")
        fresh = refreshed(text)
        if skeleton(fresh) != skeleton(text):
            stale = 1
            print(f"{page.relative_to(ROOT)} shows what is not printed any more", file=sys.stderr)
        if not check and fresh != text:
            page.write_text(fresh, "utf-8")
    return stale if check else 0


def refreshed(page: str) -> str:
    """Return a page with what its shown examples print today."""
    parts = re.split(r"(?m)^(?=## )", page)
    return "".join(
        _section(part, "".join(parts[: number + 1])) if "<!-- shown" in part else part
        for number, part in enumerate(parts)
    )


def skeleton(text: str) -> str:
    """Return a text without what differs from run to run: figures, ids, rulers, the order of items."""
    text = re.sub(r"\b\d{8}-\d{6}-[0-9a-f]{4}\b", "RUN", text)
    # Where a line is wrapped depends on how long its figures are.
    text = re.sub(r"\s+", " ", text)
    return re.sub(r"[\d.]+(?: (?:ns|µs|ms|s|min|h|%))?", "0", text)


def _section(text: str, so_far: str) -> str:
    """Run the shown blocks of one section, in order, in one folder with the files of the page so far."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, file, content in BLOCK.findall(so_far):
            if file and kind != "console":
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_text(content, "utf-8")

        def run(match: re.Match[str]) -> str:
            commands = [line for line in match[3].splitlines() if line.startswith("$ ")]
            shown = "".join(f"{line}\n{_output(line[2:], folder)}" for line in commands)
            return f"{match[1]}{_labelled(shown, match[2] or '')}{match[4]}"

        return SHOWN.sub(run, text)


def _output(command: str, folder: Path) -> str:
    """Return what a terminal shows after a command, without colours."""
    import pyte

    binaries = str(Path(sys.executable).parent)
    env = {key: value for key, value in os.environ.items() if key not in {"CI", "GITHUB_ACTIONS"}}
    env |= {
        "PATH": f"{binaries}{os.pathsep}{env['PATH']}",
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
    }
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    bash = ["bash", "-c", command.partition("   #")[0]]
    process = subprocess.Popen(bash, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    for chunk in _chunks(ours):
        stream.feed(chunk)
    process.wait()
    lines = [line.rstrip() for line in screen.display]
    text = "\n".join(lines).strip("\n")
    return f"{text}\n" if text else ""


def _chunks(descriptor: int) -> Iterator[bytes]:
    """Yield what a terminal gets until nobody holds its other end: Linux tells so by EIO."""
    try:
        while chunk := os.read(descriptor, 65536):
            yield chunk
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _labelled(shown: str, labels: str) -> str:
    """Put each label at the end of the first line that its pattern finds."""
    lines = shown.splitlines()
    free = list(range(len(lines)))
    for entry in (entry for entry in labels.split("|") if "=" in entry):
        label, pattern = (part.strip() for part in entry.split("=", 1))
        at = next((at for at in free if re.search(pattern, lines[at])), None)
        if at is None:
            print(f"no line for {label}: {pattern}", file=sys.stderr)
        else:
            free.remove(at)
            lines[at] = f"{lines[at]:<{COLUMNS}} {label}"
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
