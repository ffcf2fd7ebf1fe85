"""A checkpoint is a directory that describes itself: what was trained, on what, and how to sample from it.

    config.json          the model, its backbone and its data, as Hydra targets with plain arguments
    model.safetensors    the network's weights
    tokenizer files      as `transformers` saves them
    label.json           the classes, where there are any

Whoever writes this format reads it here too: the trainer saves, the evaluator loads.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import get_object, instantiate
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from discrete_diffusion.datasets import Label, SequenceData, load_label, save_label
from discrete_diffusion.guidance.sampling import State
from discrete_diffusion.processes import Objective
from discrete_diffusion.trainer.data import build_data

FORMAT = 1
OURS = tuple(
    f"discrete_diffusion.{part}." for part in ("schedules", "processes", "backbones", "datasets", "trainer.samplers")
)


@dataclass(frozen=True)
class Checkpoint:
    """A trained generator with everything that must match it."""

    config: dict[str, Any]
    network: nn.Module
    tokenizer: PreTrainedTokenizerBase
    label: Label | None

    @property
    def length(self) -> int:
        """Tokens in each sequence, special tokens included."""
        return self.config["length"]

    def denoiser(self, network: Callable[..., Tensor] | None = None) -> Callable[..., Tensor]:
        """log p(x_0 | x_t, y) of the network, or of a function put around it."""
        return instantiate(self.config["model"]["denoiser"])(network=network or self.network)

    def objective(self) -> Objective:
        """What the model was trained on and its likelihood is measured by."""
        return instantiate(self.config["model"]["objective"])

    def sampler(self) -> Callable[..., Iterator[State]]:
        """How the model is sampled: see `discrete_diffusion.trainer.samplers`."""
        return instantiate(self.config["model"]["sampler"])

    def data(self, **overrides: Any) -> SequenceData:
        """The data that the model was trained on, split and encoded as it was then."""
        settings = {**self.config["data"], **overrides}
        return build_data(settings, tokenizer=self.tokenizer, label=self.label, length=self.length)

    def save(self, directory: str | Path) -> Path:
        """Write the checkpoint; the directory appears whole or not at all."""
        directory = Path(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
        try:
            save_file(
                {k: v.contiguous().cpu() for k, v in self.network.state_dict().items()}, partial / "model.safetensors"
            )
            self.tokenizer.save_pretrained(partial)
            if self.label is not None:
                save_label(self.label, partial / "label.json")
            text = json.dumps({"format": FORMAT, **self.config}, indent=2)
            (partial / "config.json").write_text(text + "\n", encoding="utf-8")
            partial.chmod(0o755)
            if directory.exists():
                shutil.rmtree(directory)
            partial.rename(directory)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return directory


def load(directory: str | Path, *, trust_remote_code: bool = False) -> Checkpoint:
    """Read a checkpoint that `Checkpoint.save` wrote, on the CPU and in evaluation mode.

    Args:
        trust_remote_code: build what config.json names even where it is not ours, such as a data set of your own.

    Raises:
        FileNotFoundError: if it is no checkpoint directory.
        ValueError: if its parts do not belong together, or it names code that is not ours.
    """
    directory = Path(directory)
    missing = [name for name in ("config.json", "model.safetensors") if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(f"Expected a checkpoint in {directory}, but it has no {' and no '.join(missing)}.")
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{directory / 'config.json'} cannot be read: {error}.") from error
    if not isinstance(config, dict) or config.pop("format", None) != FORMAT:
        raise ValueError(f"Expected a checkpoint of format {FORMAT} in {directory}: train it again with this version.")
    absent = sorted({"model", "backbone", "data", "length"} - config.keys())
    if absent:
        raise ValueError(f"Expected {', '.join(map(repr, absent))} in {directory / 'config.json'}: it is not whole.")
    foreign = sorted({target for target in _targets(config) if not _is_ours(target)})
    if foreign and not trust_remote_code:
        raise ValueError(
            f"{directory} names code that is not ours ({', '.join(foreign)}): pass `trust_remote_code=true` if you "
            "trust it."
        )
    try:
        network = instantiate(config["backbone"]).eval()
        tokenizer = AutoTokenizer.from_pretrained(directory)
        label = load_label(directory / "label.json") if (directory / "label.json").is_file() else None
        weights = load_file(directory / "model.safetensors")
    except Exception as error:  # a damaged file fails in another way in each library
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ValueError(f"A part of the checkpoint {directory} cannot be read: {reason}") from error
    problem = _mismatch(network.state_dict(), weights)
    if problem is None and len(tokenizer) != config["backbone"]["vocab_size"]:
        problem = f"the tokenizer has {len(tokenizer)} symbols and the network {config['backbone']['vocab_size']}"
    classes = None if label is None else label.num_classes
    if problem is None and classes != config["backbone"].get("num_classes"):
        problem = f"label.json has {classes} classes and the network {config['backbone'].get('num_classes')}"
    if problem is not None:
        raise ValueError(f"The parts of {directory} do not belong together: {problem}.")
    network.load_state_dict(weights)
    return Checkpoint(config, network, tokenizer, label)


def newest(root: str | Path = "outputs") -> Path:
    """The checkpoint that was written last under `root`.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = sorted(Path(root).glob("**/checkpoint/config.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(f"No checkpoint under {root}: train one with `uv run trainer`, or name one.")
    return found[-1].parent


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _targets(child)


def _is_ours(target: str) -> bool:
    # The prefix alone would let a path walk through one of our modules into another's functions.
    return target.startswith(OURS) and getattr(get_object(target), "__module__", "").startswith("discrete_diffusion.")


def _mismatch(expected: dict[str, Tensor], got: dict[str, Tensor]) -> str | None:
    for name in sorted(expected.keys() | got.keys()):
        if name not in got:
            return f"config.json asks for the weight {name}, which model.safetensors lacks"
        if name not in expected:
            return f"model.safetensors has the weight {name}, which config.json does not ask for"
        if expected[name].shape != got[name].shape:
            shapes = tuple(expected[name].shape), tuple(got[name].shape)
            return f"config.json asks for {name} of shape {shapes[0]}, and model.safetensors has {shapes[1]}"
    return None
