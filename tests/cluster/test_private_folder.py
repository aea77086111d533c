"""Where an embedded cluster's sockets may be."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from arcli.cluster.embedded import private_folder
from arcli.errors import ClusterError


def short_folder() -> Path:
    """A folder whose path is short enough for sockets; pytest's own are not always."""
    return Path(tempfile.mkdtemp(prefix="arcli-test-")).resolve()


def test_it_is_for_its_owner_alone_and_short_enough() -> None:
    folder = private_folder.create()
    try:
        about = folder.stat()
        assert (stat.S_IMODE(about.st_mode), about.st_uid) == (0o700, os.getuid())
        assert len(os.fsencode(f"{folder}{private_folder.SOCKET}")) <= private_folder.LONGEST
    finally:
        folder.rmdir()


def test_a_long_tmpdir_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", None)
    folder = private_folder.create()
    folder.rmdir()
    assert long not in folder.parents
    assert "too long" in (private_folder.unfit(long.resolve()) or "")


def test_a_folder_whose_name_sockets_cannot_have_is_passed_over() -> None:
    base = short_folder()
    odd = Path(os.fsdecode(os.fsencode(base) + b"/\xff"))
    odd.mkdir(mode=0o700)
    try:
        assert "UTF-8" in (private_folder.unfit(odd) or "")
    finally:
        odd.rmdir()
        base.rmdir()


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_could_swap_is_refused_unless_it_is_sticky(mode: int) -> None:
    base = short_folder()
    try:
        base.chmod(mode)
        assert private_folder.unfit(base) == f"others can write to {base}"
        base.chmod(mode | stat.S_ISVTX)
        assert private_folder.unfit(base) is None
    finally:
        base.rmdir()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused() -> None:
    base = short_folder()
    try:
        os.chown(base, 12345, 12345)
        assert "belongs to another user" in (private_folder.unfit(base) or "")
        os.chown(base, 0, 0)
        (base / "below").mkdir()
        os.chown(base, 12345, 12345)
        assert "belongs to another user" in (private_folder.unfit(base / "below") or "")
    finally:
        (base / "below").rmdir()
        base.rmdir()


def test_where_no_folder_will_do_each_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    base = short_folder()
    try:
        base.chmod(0o777)
        monkeypatch.setattr(private_folder, "bases", lambda: iter([base]))
        with pytest.raises(ClusterError) as caught:
            private_folder.create()
        assert f"others can write to {base}" in (caught.value.hint or "")
    finally:
        base.rmdir()


@pytest.mark.parametrize("mode", [0o750, 0o701])
def test_a_folder_that_is_open_to_others_is_not_used(mode: int) -> None:
    folder = short_folder()
    try:
        folder.chmod(mode)
        with pytest.raises(ClusterError, match="only this user"):
            private_folder.check(folder)
        link = folder.with_name(folder.name + "-link")
        folder.chmod(0o700)
        link.symlink_to(folder)
        try:
            with pytest.raises(ClusterError, match="only this user"):
                private_folder.check(link)
        finally:
            link.unlink()
    finally:
        folder.rmdir()
