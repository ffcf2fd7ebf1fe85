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

from discrete_diffusion.checkpoints.build import find
from discrete_diffusion.checkpoints.errors import first_line
from discrete_diffusion.checkpoints.legacy import with_current_names

FORMAT = 2
OURS = tuple(f"discrete_diffusion.{part}." for part in ("schedules", "processes", "backbones", "datasets", "guidance"))


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
    """Read config.json of a folder that holds a `what`, and refuse what no folder of ours says.

    Raises:
        FileNotFoundError: if there is none, or no weights beside it.
        ValueError: if it is damaged, of another format, not whole, or names code that is not ours.
    """
    missing = [name for name in ("config.json", "model.safetensors") if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(f"Expected a {what} in {directory}, but it has no {' and no '.join(missing)}.")
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{directory / 'config.json'} cannot be read: {error}.") from error
    if not isinstance(config, dict) or config.pop("format", None) != FORMAT:
        raise ValueError(f"Expected a {what} of format {FORMAT} in {directory}: train it again with this version.")
    absent = sorted(set(needed) - config.keys())
    if absent:
        raise ValueError(f"Expected {', '.join(map(repr, absent))} in {directory / 'config.json'}: it is not whole.")
    config = with_current_names(config)
    foreign = sorted({target for target, trusting in _targets(config) if trusting or not _is_ours(target)})
    if foreign and not trust_remote_code:
        raise ValueError(
            f"{directory} names code that is not ours ({', '.join(foreign)}): pass `trust_remote_code=true` if you "
            "trust it."
        )
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


def _targets(node: Any) -> Iterator[tuple[str, bool]]:
    """What is built, and whether it is told to run whatever code it finds."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"], node.get("trust_remote_code", False) is not False
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _targets(child)


def _is_ours(target: str) -> bool:
    # The prefix alone would let a path walk through one of our modules into another's functions.
    return target.startswith(OURS) and getattr(find(target), "__module__", "").startswith("discrete_diffusion.")
