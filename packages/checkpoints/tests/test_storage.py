"""Folders that are written whole: stopped at every moment, on a full disk, and cleaned up."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch

from discrete_diffusion.checkpoints import storage
from discrete_diffusion.checkpoints.storage import label_of, restore, whole, write_weights


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs."""


def write(directory: Path, text: str) -> None:
    with whole(directory) as partial:
        (partial / "a").write_text(text)
        (partial / "sub").mkdir()
        (partial / "sub" / "b").write_text(text)


def full(path: Path, text: str) -> None:
    path.write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def content(directory: Path) -> set[str]:
    return {(directory / name).read_text() for name in ("a", "sub/b")}


def stop_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """End the process at the given call of any function that changes the disk."""
    calls = [0]

    def counted(function):
        def call(*args, **kwargs):
            calls[0] += 1
            if calls[0] > moment:
                raise Killed
            return function(*args, **kwargs)

        return call

    for owner, name in (
        (Path, "rename"),
        (Path, "chmod"),
        (Path, "write_text"),
        (os, "fsync"),
        (shutil, "rmtree"),
        (storage.tempfile, "mkdtemp"),
    ):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


def test_a_process_that_stops_at_any_moment_leaves_the_old_folder_or_the_new_one(tmp_path: Path):
    stopped, outcomes = 0, []
    for moment in range(200):
        directory = tmp_path / str(moment) / "checkpoint"
        write(directory, "old")
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, moment)
            try:
                write(directory, "new")
            except Killed:
                stopped += 1
            else:
                break
        restore(directory)
        outcomes.append(content(directory))
        # The next write succeeds, whatever was left behind.
        write(directory, "newer")
        assert content(directory) == {"newer"}
    assert stopped == len(outcomes) > 10
    assert [outcome in ({"old"}, {"new"}) for outcome in outcomes] == [True] * stopped
    assert {"old"} in outcomes
    assert {"new"} in outcomes


def test_a_failed_write_keeps_the_old_folder_and_leaves_nothing(tmp_path: Path):
    directory = tmp_path / "checkpoint"
    write(directory, "old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space"):
            write(directory, "new")
    assert content(directory) == {"old"}
    assert list(tmp_path.iterdir()) == [directory]


def test_a_disk_that_is_full_within_the_weights_is_reported_as_such(tmp_path: Path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_weights(tmp_path, {"weight": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG


def test_leftovers_are_removed_when_they_are_old(tmp_path: Path):
    directory = tmp_path / "checkpoint"
    write(directory, "old")
    for name, age in ((".checkpoint-partial-a", 7200), (".checkpoint-partial-b", 0), (".other-partial-c", 7200)):
        (tmp_path / name).mkdir()
        written = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (written, written))
    write(directory, "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".checkpoint-partial-b",
        ".other-partial-c",
        "checkpoint",
    ]


@pytest.mark.parametrize("combinations", [None, [], [[0]], [[0, 2]], [[0, True]], [0, 1]])
def test_damaged_joint_labels_are_refused(combinations):
    parts = [{"column": "qed", "threshold": 0.5, "comparison": ">"}, {"column": "kind", "class_names": ["a", "b"]}]
    found = label_of({"labels": parts, "combinations": [[0, 1], [1, 0]]})
    assert found.class_names == ("qed <= 0.5, kind = b", "qed > 0.5, kind = a")
    with pytest.raises(ValueError, match="expected classes of each of `labels` as the `combinations`"):
        label_of({"labels": parts, "combinations": combinations})
    with pytest.raises(ValueError, match="expected a list of labels"):
        label_of({"labels": [found.to_dict()], "combinations": [[0]]})
