"""Folders of checkpoints: written as a whole or not at all, checked when they are read."""

import glob
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from discrete_diffusion.checkpoints.errors import first_line
from discrete_diffusion.checkpoints.folders import shipped
from discrete_diffusion.checkpoints.legacy import with_current_names
from discrete_diffusion.checkpoints.trust import expect_trusted
from discrete_diffusion.datasets import FittedValueLabel, Label, label_from_dict

FORMAT = 2
DIGESTS = "digests"
"""Entry of config.json with the SHA-256 of each file."""
_ABANDONED = 3600
"""Age in seconds from which a folder of a write that did not finish is removed."""
WHOLE = ("backbone", "layout", "network", "objective", "parameterization", "process", "rows", "sampler", "schedule")
"""Roles whose targets get all their arguments from the file."""
THRESHOLD = {"column", "threshold", "comparison"}
"""Entries of the label.json of a threshold."""


@contextmanager
def whole(directory: Path) -> Iterator[Path]:
    """Yield a new folder beside `directory` that takes its place if the block succeeds.

    The files are synced to the disk before the folder gets its name, and the old folder keeps its name until then. A
    process or a machine that stops at any time therefore leaves the old folder or the new one. If it stops between the
    two renames, `restore` brings back the old one.

    Args:
        directory: Folder to write or to replace.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    restore(directory)
    _remove_leftovers(directory)
    partial = Path(tempfile.mkdtemp(dir=directory.parent, prefix=_prefix(directory, "partial")))
    replaced = partial.with_name(partial.name.replace("-partial-", "-replaced-"))
    try:
        yield partial
        partial.chmod(0o755)
        for file in partial.rglob("*"):
            if file.is_file():
                file.chmod(0o644)  # safetensors writes for its owner alone
            _sync(file)
        _sync(partial)
        if directory.exists():
            directory.rename(replaced)
        partial.rename(directory)
        _sync(directory.parent)
    except BaseException:
        restore(directory)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if directory.exists():
            shutil.rmtree(replaced, ignore_errors=True)


def restore(directory: Path) -> None:
    """Bring back the folder that was about to be replaced when a process stopped, if there is no other."""
    if directory.exists():
        return
    replaced = sorted(directory.parent.glob(glob.escape(_prefix(directory, "replaced")) + "*"))
    if replaced:
        replaced[-1].rename(directory)


def _remove_leftovers(directory: Path) -> None:
    """Remove what processes that stopped an hour ago or earlier have left beside a folder."""
    for kind in ("partial", "replaced"):
        for leftover in directory.parent.glob(glob.escape(_prefix(directory, kind)) + "*"):
            if time.time() - leftover.stat().st_mtime > _ABANDONED:
                shutil.rmtree(leftover, ignore_errors=True)


def _prefix(directory: Path, kind: str) -> str:
    return f".{directory.name}-{kind}-"


def _sync(path: Path) -> None:
    # Windows cannot open folders, and needs no sync of them.
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_config(directory: Path, config: dict[str, Any]) -> None:
    """Write config.json, with digests of itself and of the files beside it; call it last."""
    described = {"format": FORMAT, **config}
    files = sorted(file for file in directory.iterdir() if file.is_file() and file.name != "config.json")
    digests = {"config.json": _digest_of_config(described), **{file.name: _digest_of_file(file) for file in files}}
    text = json.dumps({**described, DIGESTS: digests}, indent=2)
    (directory / "config.json").write_text(text + "\n", encoding="utf-8")


def expect_unchanged(directory: Path) -> None:
    """Compare the files of a folder with the digests in its config.json; folders of version 0.1 have none.

    The digests find damage and edits, not forgery: whoever changes a file can change its digest too.

    Raises:
        ValueError: If a file differs.
    """
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    digests = config.pop(DIGESTS, None)
    # A folder that was exported for transformers, or saved by it, has other files under the same names.
    if digests is None or "model_type" in config:
        return
    if not isinstance(digests, dict) or not all(Path(name).name == name for name in digests):
        raise ValueError(f"Expected names of files with their SHA-256 as `{DIGESTS}` in {directory / 'config.json'}.")
    for name, digest in digests.items():
        file = directory / name
        if name == "config.json":
            found = _digest_of_config(config)
        elif file.is_file():
            found = _digest_of_file(file)
        else:
            continue
        if found != digest:
            raise ValueError(
                f"{file} is not as it was saved: it is damaged or was changed. Remove `{DIGESTS}` from config.json if "
                "you changed it on purpose."
            )


def _digest_of_config(config: Mapping[str, Any]) -> str:
    return sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _digest_of_file(file: Path) -> str:
    with file.open("rb") as content:
        return file_digest(content, "sha256").hexdigest()


def write_weights(directory: Path, weights: Mapping[str, Tensor]) -> None:
    """Write model.safetensors.

    Raises:
        OSError: If it cannot be written, for example because the disk is full.
    """
    path = directory / "model.safetensors"
    try:
        save_file({name: weight.contiguous().cpu() for name, weight in weights.items()}, path)
    except SafetensorError as error:
        # The number tells callers that the disk is full; safetensors has it in its message alone.
        number = re.search(r"os error (\d+)", str(error))
        if number is not None:
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise OSError(f"The weights cannot be written: {error}.") from error


def read_config(
    directory: Path, *, what: str, entries: Mapping[str, type | tuple[type, ...]], trust_remote_code: bool
) -> dict[str, Any]:
    """Read the config.json of a folder that holds a `what`, with the names of this version.

    Args:
        directory: The folder.
        what: Kind of the folder, for messages.
        entries: Type of each entry that config.json must have. A dictionary of targets is checked by
            `expect_described`.
        trust_remote_code: Accept targets outside the closed lists.

    Raises:
        FileNotFoundError: If there is none, or no weights beside it.
        ValueError: If it is damaged, of another format, or incomplete.
        UntrustedTargetError: If it names code outside the closed lists and `trust_remote_code` is false.
    """
    restore(directory)
    missing = [name for name in ("config.json", "model.safetensors") if not (directory / name).is_file()]
    if missing:
        names = shipped(directory) if what == "checkpoint" else ""
        raise FileNotFoundError(f"Expected a {what} in {directory}, but it has no {' and no '.join(missing)}{names}.")
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{directory / 'config.json'} cannot be read: {error}.") from error
    if not isinstance(config, dict) or config.pop("format", None) != FORMAT:
        raise ValueError(f"Expected a {what} of format {FORMAT} in {directory}: train it again with this version.")
    config.pop(DIGESTS, None)
    absent = sorted(set(entries) - config.keys())
    if absent:
        raise ValueError(f"Expected {', '.join(map(repr, absent))} in {directory / 'config.json'}: it is not whole.")
    for name, kind in entries.items():
        if not isinstance(config[name], kind) or isinstance(config[name], bool):
            raise ValueError(
                f"Expected another value of `{name}` in {directory / 'config.json'}, got {config[name]!r:.80}."
            )
    try:
        config = with_current_names(config)
        if not trust_remote_code:
            expect_trusted(config, where=directory / "config.json")
    except RecursionError as error:
        raise ValueError(f"{directory / 'config.json'} cannot be read: it is nested too deeply.") from error
    return config


def expect_described(config: Any, names: Collection[str], *, where: object) -> None:
    """Check that entries of a configuration are dictionaries with a target.

    Raises:
        ValueError: For the first that is not.
    """
    for name in names:
        node = config.get(name)
        if not isinstance(node, dict) or "_target_" not in node:
            raise ValueError(f"Expected a dictionary with a `_target_` as `{name}` in {where}, got {node!r:.80}.")


def expect_flags(config: Any, *, where: object, role: str = "") -> None:
    """Check that every `_partial_` in a configuration is true or false, and not true for a part that must be whole.

    Args:
        config: Dictionaries and lists.
        where: File, for the message.
        role: Key of `config`.

    Raises:
        ValueError: For the first that is not.
    """
    if isinstance(config, Mapping):
        flag = config.get("_partial_", False)
        if not isinstance(flag, bool):
            raise ValueError(f"Expected true or false as `_partial_` in {where}, got {flag!r:.80}.")
        if flag and role in WHOLE:
            raise ValueError(f"Expected no `_partial_` of `{role}` in {where}.")
        for name, child in config.items():
            expect_flags(child, where=where, role=str(name))
    elif isinstance(config, list):
        for child in config:
            expect_flags(child, where=where, role=role)


def expect_one_value(config: Any, name: str, *, where: object) -> None:
    """Check that an argument, such as `vocab_size`, has the same value everywhere in a configuration.

    Raises:
        ValueError: If two values differ.
    """
    values = list(_values(config, name))
    if any(value != values[0] for value in values):
        other = next(value for value in values if value != values[0])
        raise ValueError(f"Expected one `{name}` in {where}, got {values[0]!r:.40} and {other!r:.40}.")


def _values(config: Any, name: str) -> Iterator[Any]:
    if isinstance(config, Mapping):
        if name in config:
            yield config[name]
        for child in config.values():
            yield from _values(child, name)
    elif isinstance(config, list):
        for child in config:
            yield from _values(child, name)


def read_label(file: Path) -> Label | FittedValueLabel:
    """Read label.json.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        return condition_of(json.loads(file.read_text(encoding="utf-8")))
    except RecursionError as error:
        raise ValueError(f"{file} cannot be read: it is nested too deeply.") from error
    except ValueError as error:
        raise ValueError(f"{file} cannot be read: {error}.") from error


def condition_of(fields: Any) -> Label | FittedValueLabel:
    """Return the label or the numbers that a dictionary describes.

    Raises:
        ValueError: If it describes neither.
    """
    if isinstance(fields, dict) and "columns" in fields:
        return FittedValueLabel.from_dict(fields)
    return label_of(fields)


def label_of(fields: Any) -> Label:
    """Return the label that a dictionary describes.

    Raises:
        ValueError: If it describes none.
    """
    if isinstance(fields, dict) and "labels" in fields:
        return _joint_label(fields)
    if not isinstance(fields, dict) or not isinstance(fields.get("column"), str):
        raise ValueError(f"expected a label with a `column`, got {fields!r:.80}")
    if "threshold" in fields:
        number = fields["threshold"]
        finite = isinstance(number, int | float) and not isinstance(number, bool) and abs(number) <= sys.float_info.max
        if not finite or fields.keys() - THRESHOLD:
            raise ValueError(f"expected a finite number as the `threshold` of a label, got {fields!r:.80}")
    else:
        names = fields.get("class_names")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"expected a list of names as the `class_names` of a label, got {names!r:.80}")
    return label_from_dict(fields)


def _joint_label(fields: dict[str, Any]) -> Label:
    parts, combinations = fields["labels"], fields.get("combinations")
    if not isinstance(parts, list) or not parts or any(isinstance(part, dict) and "labels" in part for part in parts):
        raise ValueError(f"expected a list of labels as the `labels` of a label, got {parts!r:.80}")
    sizes = [label_of(part).num_classes for part in parts]
    if not isinstance(combinations, list) or not combinations or not all(_fits(one, sizes) for one in combinations):
        raise ValueError(f"expected classes of each of `labels` as the `combinations`, got {combinations!r:.80}")
    return label_from_dict(fields)


def _fits(combination: Any, sizes: list[int]) -> bool:
    if not isinstance(combination, list) or len(combination) != len(sizes):
        return False
    return all(type(index) is int and 0 <= index < size for index, size in zip(combination, sizes, strict=True))


def unreadable(what: str, directory: Path, error: Exception) -> ValueError:
    """Return the error for a damaged file, in one line: each library raises another one."""
    reason = first_line(error)
    return ValueError(f"A part of the {what} {directory} cannot be read: {reason}")


def fingerprint(weights: dict[str, Tensor]) -> str:
    """Return the SHA-256 of the names and values of weights."""
    digest = sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
