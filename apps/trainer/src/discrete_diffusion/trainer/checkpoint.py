"""A checkpoint is a directory that describes itself: what was trained, on what, and how to sample from it.

    config.json          the model, its backbone and its data, as Hydra targets with plain arguments
    model.safetensors    the network's weights
    tokenizer files      as `transformers` saves them
    label.json           the classes, where there are any

Whoever writes this format reads it here too: the trainer saves, the evaluator loads.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from discrete_diffusion.datasets import Label, SequenceData, load_label, save_label
from discrete_diffusion.guidance.sampling import State
from discrete_diffusion.processes import Objective
from discrete_diffusion.trainer.data import build_data
from discrete_diffusion.trainer.folders import newest as newest
from discrete_diffusion.trainer.storage import mismatch, read_config, unreadable, whole, write_config


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
        with whole(directory) as partial:
            save_file(
                {k: v.contiguous().cpu() for k, v in self.network.state_dict().items()}, partial / "model.safetensors"
            )
            self.tokenizer.save_pretrained(partial)
            if self.label is not None:
                save_label(self.label, partial / "label.json")
            write_config(partial, self.config)
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
    config = read_config(
        directory,
        what="checkpoint",
        needed=("model", "backbone", "data", "length"),
        trust_remote_code=trust_remote_code,
    )
    try:
        network = instantiate(config["backbone"]).eval()
        tokenizer = AutoTokenizer.from_pretrained(directory)
        label = load_label(directory / "label.json") if (directory / "label.json").is_file() else None
        weights = load_file(directory / "model.safetensors")
    except Exception as error:
        raise unreadable("checkpoint", directory, error) from error
    problem = mismatch(network.state_dict(), weights)
    if problem is None and len(tokenizer) != config["backbone"]["vocab_size"]:
        problem = f"the tokenizer has {len(tokenizer)} symbols and the network {config['backbone']['vocab_size']}"
    classes = None if label is None else label.num_classes
    if problem is None and classes != config["backbone"].get("num_classes"):
        problem = f"label.json has {classes} classes and the network {config['backbone'].get('num_classes')}"
    if problem is not None:
        raise ValueError(f"The parts of {directory} do not belong together: {problem}.")
    network.load_state_dict(weights)
    return Checkpoint(config, network, tokenizer, label)
