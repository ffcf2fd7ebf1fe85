"""Folders that appear whole or not at all, and what is read from them before it is believed."""

import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from discrete_diffusion.checkpoints.errors import first_line
from discrete_diffusion.checkpoints.legacy import with_current_names
from discrete_diffusion.checkpoints.trust import expect_trusted

FORMAT = 2


@contextmanager
def whole(directory: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `directory`, in place of what was there, if nothing fails."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
    try:
        yield partial
        partial.chmod(0o755)
        for file in filter(Path.is_file, partial.rglob("*")):
            file.chmod(0o644)  # safetensors writes for its owner alone
        if directory.exists():
            shutil.rmtree(directory)
        partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_config(directory: Path, config: dict[str, Any]) -> None:
    """Write config.json."""
    text = json.dumps({"format": FORMAT, **config}, indent=2)
    (directory / "config.json").write_text(text + "\n", encoding="utf-8")


def write_weights(directory: Path, weights: Mapping[str, Tensor]) -> None:
    """Write model.safetensors.

    Raises:
        OSError: if it cannot be written, for want of space say.
    """
    path = directory / "model.safetensors"
    try:
        save_file({name: weight.contiguous().cpu() for name, weight in weights.items()}, path)
    except SafetensorError as error:
        raise OSError(f"The weights cannot be written: {error}.") from error


def read_config(directory: Path, *, what: str, needed: Collection[str], trust_remote_code: bool) -> dict[str, Any]:
    """Read the config.json of a folder that holds a `what`, with the names of this version.

    Raises:
        FileNotFoundError: If there is none, or no weights beside it.
        ValueError: If it is damaged, of another format, or incomplete.
        UntrustedTargetError: If it names code outside the closed lists and `trust_remote_code` is false.
    """
    missing = [name for name in ("config.json", "model.safetensors") if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(f"Expected a {what} in {directory}, but it has no {' and no '.join(missing)}.")
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{directory / 'config.json'} cannot be read: {error}.") from error
    if not isinstance(config, dict) or config.pop("format", None) != FORMAT:
        raise ValueError(f"Expected a {what} of format {FORMAT} in {directory}: train it again with this version.")
    absent = sorted(set(needed) - config.keys())
    if absent:
        raise ValueError(f"Expected {', '.join(map(repr, absent))} in {directory / 'config.json'}: it is not whole.")
    config = with_current_names(config)
    if not trust_remote_code:
        expect_trusted(config, where=directory / "config.json")
    return config


def unreadable(what: str, directory: Path, error: Exception) -> ValueError:
    """The one line for a damaged file, which fails in another way in each library."""
    reason = first_line(error)
    return ValueError(f"A part of the {what} {directory} cannot be read: {reason}")


def mismatch(expected: dict[str, Tensor], got: dict[str, Tensor]) -> str | None:
    """What is wrong with weights, None if nothing is."""
    for name in sorted(expected.keys() | got.keys()):
        if name not in got:
            return f"config.json asks for the weight {name}, which model.safetensors lacks"
        if name not in expected:
            return f"model.safetensors has the weight {name}, which config.json does not ask for"
        if expected[name].shape != got[name].shape:
            shapes = tuple(expected[name].shape), tuple(got[name].shape)
            return f"config.json asks for {name} of shape {shapes[0]}, and model.safetensors has {shapes[1]}"
    return None


def fingerprint(weights: dict[str, Tensor]) -> str:
    """SHA-256 of names and values, whatever file they lie in."""
    digest = sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
