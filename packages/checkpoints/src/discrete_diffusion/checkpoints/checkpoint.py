"""Checkpoints of generators: folders that describe their model, data and sampler.

config.json          the model, its backbone and its data, as targets with plain arguments
model.safetensors    the network's weights
tokenizer files      as `transformers` saves them
label.json           the classes or the numbers that condition it, if there are any
classifiers/NAME     classifiers for guidance, if there are any
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.checkpoints.build import build
from discrete_diffusion.checkpoints.classifier_checkpoint import ClassifierCheckpoint
from discrete_diffusion.checkpoints.compatibility import DiffusionDenoiser
from discrete_diffusion.checkpoints.data import build_data
from discrete_diffusion.checkpoints.errors import MissingDataError, UndescribedDataError
from discrete_diffusion.checkpoints.infill import read_templates
from discrete_diffusion.checkpoints.networks import expect_finite
from discrete_diffusion.checkpoints.requests import NO_REQUEST, RequestedNetwork
from discrete_diffusion.checkpoints.samplers import with_steps
from discrete_diffusion.checkpoints.storage import (
    whole,
    write_config,
    write_weights,
)
from discrete_diffusion.datasets import FittedValueLabel, Label, SequenceData, decode, locate_files, save_label
from discrete_diffusion.guidance import RandomSource, SampleStreams, State, last
from discrete_diffusion.processes import Ancestral, Objective, Process

Request: TypeAlias = float | Sequence[float | None] | Mapping[str, float | None]
"""Numbers to ask for: one for each column, None to leave it free; or by the names of columns; or one number."""


@dataclass(frozen=True, repr=False)
class Checkpoint:
    """Trained generator with its tokenizer, label and classifiers.

    Attributes:
        config: `model` (its denoiser, objective and sampler), `backbone`, `data` and `length`, as targets.
        network: The backbone.
        tokenizer: The tokenizer.
        label: The classes, None without labels.
        classifiers: Classifiers for guidance, by name.
        values: The numbers that the model is conditional on, instead of classes; None without.
        requests: Numbers that the labels 0, 1, ... stand for, in standard units; see `requesting`.
        folder: Folder that the checkpoint was read from, None for a new one.
    """

    config: dict[str, Any]
    network: nn.Module
    tokenizer: PreTrainedTokenizerBase
    label: Label | None
    classifiers: Mapping[str, ClassifierCheckpoint] = field(default_factory=dict)
    values: FittedValueLabel | None = None
    requests: Float[Tensor, "r k"] | None = None
    folder: Path | None = None

    @property
    def length(self) -> int:
        """Number of tokens in each sequence, special tokens included."""
        return self.config["length"]

    @property
    def null_label(self) -> int | None:
        """Label that means "no condition", None without a condition."""
        if self.values is not None:
            return NO_REQUEST
        return None if self.label is None else self.label.num_classes

    def requesting(self, *requests: Request) -> "Checkpoint":
        """Return the checkpoint whose label i stands for the i-th of these requests, and `null_label` for none.

        Guidance and samplers pass labels, one integer for each sequence. `sample` and `complete` do this themselves.

        Args:
            *requests: A number for each of `values`, None to leave it free; or numbers by name; or the number itself.

        Raises:
            ValueError: If the model is not conditional on numbers, or has no such numbers.
        """
        if self.values is None:
            raise ValueError("Expected no numbers: this model is not conditional on any.")
        return replace(self, requests=torch.from_numpy(np.stack([self.values.request(one) for one in requests])))

    @property
    def process(self) -> Process | None:
        """Forward process of a diffusion model, None for an autoregressive model."""
        denoiser = self.denoiser()
        return denoiser.process if isinstance(denoiser, DiffusionDenoiser) else None

    def denoiser(self, network: Callable[..., Tensor] | None = None) -> Callable[..., Tensor]:
        """Return the denoiser, log p(x_0 | x_t, y), of the network or of a function that wraps it."""
        network = network or self.network
        if self.requests is not None:
            network = RequestedNetwork(network, self.requests)
        return build(self.config["model"]["denoiser"])(network=network)

    def kernel(self, network: Callable[..., Tensor] | None = None) -> Callable[..., Tensor]:
        """Return the ancestral kernel, log p(x_s | x_t, y), of a diffusion model, whatever its sampler is.

        Args:
            network: Function that wraps the network, by default the network itself.

        Raises:
            ValueError: If the model is autoregressive.
        """
        denoiser = self.denoiser(network)
        if not isinstance(denoiser, DiffusionDenoiser):
            raise ValueError("Expected a diffusion model: one that goes from left to right has no kernel.")
        return Ancestral(denoiser.process, denoiser)

    def objective(self) -> Objective:
        """Return the training objective, which also measures the likelihood."""
        return build(self.config["model"]["objective"])

    def sampler(self) -> Callable[..., Iterator[State]]:
        """Return the sampler; see `discrete_diffusion.guidance`."""
        return build(self.config["model"]["sampler"])

    def sample(
        self,
        count: int,
        *,
        y: int | str | Tensor | Request | None = None,
        steps: int | None = None,
        seed: int | None = None,
        first: int = 0,
        **options: Any,
    ) -> Tensor:
        """Draw sequences, (count, length) token ids, without gradients.

        Args:
            count: Number of sequences.
            y: Label of all sequences, its index or its name, or the label of each, (count,); `null_label` and None are
                mean "no condition". For a model that is conditional on numbers, a number for each of `values` in the
                units of its column, such as [0.9, 2.5], None to leave one free; or numbers by name, such as
                {"qed": 0.9}; or a tensor (count, numbers), NaN where one is free.
            steps: Sampling steps of a diffusion model, by default those of the checkpoint.
            seed: Seed of the samples, each of which depends on the seed and its index alone; None draws from
                `generator` or torch's default generator.
            first: Index of the first sample under `seed`.
            **options: Arguments of the sampler: `generator`; `on_kernel` and the like for guidance; `search`,
                `allowed`, `clamp`.

        Raises:
            ValueError: If there are no such labels or steps, `count` < 1, both `seed` and `generator` are given, or a
                weight is not finite.
            TypeError: If `count`, `steps`, `seed` or `first` is no integer, or `y` is no label.
        """
        options["generator"] = self._source(count, seed, first, options.get("generator"))
        conditioned, labels = self._labels(y, count)
        return conditioned._draw(count, labels, steps, options)

    def complete(
        self,
        text: str | Sequence[str],
        count: int = 1,
        *,
        y: int | str | Tensor | Request | None = None,
        steps: int | None = None,
        seed: int | None = None,
        first: int = 0,
        gap: tuple[int, int] = (1, 10),
        allowed: Tensor | None = None,
        **options: Any,
    ) -> list[str]:
        """Fill the free places of a string, as in "a [MASK] b", "O=C1CC[*]C1" or "MKV____GG".

        `[MASK]` and `_` are one token, `[*]` and `[*:1]` a gap of several, whose number is drawn uniformly from `gap`.
        Where a token of the model is spelled `_` or `[*]`, it is that token. The string ends where `text` does, unless
        `text` ends with `[*]`: then the model continues it to an end of its own choice. If all sequences of the model
        have the same length, the model continues a shorter text.

        For an absorbing process, samples follow the model's distribution given the held tokens and the sizes of the
        gaps, up to the sampler's discretization. For uniform noise this is a heuristic: tokens are held at each step,
        but the noise around them is not that of the conditional process. A left-to-right model is exact if nothing but
        the end is free.

        Args:
            text: String with free places; or several, of which each sample fills one, drawn uniformly.
            count: Number of strings.
            y: Label of all strings, its index or its name, or the label of each, (count,); or numbers as in `sample`;
                None means "no condition".
            steps: Sampling steps of a diffusion model, by default those of the checkpoint.
            seed: Seed of the samples, each of which depends on the seed and its index alone; None draws from
                `generator` or torch's default generator.
            first: Index of the first sample under `seed`.
            gap: Smallest and largest number of tokens in a gap.
            allowed: Tokens that each free position may hold, (length, vocabulary).
            **options: Arguments of the sampler: `generator`; `on_kernel` and the like for guidance; `search`.

        Raises:
            ValueError: If there is no free place, the text is too long, or a token is unknown; or as in `sample`.
            TypeError: If `count` is no integer.
        """
        source = self._source(count, seed, first, options.get("generator"))
        template = read_templates(text, self.tokenizer, self.length, self.config["data"].get("layout") or {}, gap)
        conditioned, labels = self._labels(y, count)
        strings = [""] * count
        for rows, clamp, own in template.groups(source, count, allowed):
            options["generator"] = source if seed is None else SampleStreams(seed, first + rows)
            options |= {"clamp": clamp.to(self._device), "allowed": own}
            ids = conditioned._draw(len(rows), None if labels is None else labels[rows], steps, options)
            for row, string in zip(rows.tolist(), self.decode(ids), strict=True):
                strings[row] = string
        return strings

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _source(self, count: int, seed: int | None, first: int, generator: RandomSource) -> RandomSource:
        if not isinstance(count, int) or isinstance(count, bool):
            raise TypeError(f"Expected an integer `count`, got {count!r}.")
        if count < 1:
            raise ValueError(f"Expected `count` >= 1, got {count}.")
        for name, number in (("seed", 0 if seed is None else seed), ("first", first)):
            if not isinstance(number, int) or isinstance(number, bool):
                raise TypeError(f"Expected an integer `{name}`, got {number!r:.80}.")
        if seed is None:
            return generator
        if generator is not None:
            raise ValueError("Expected either `seed` or `generator`, got both.")
        return SampleStreams(seed, torch.arange(first, first + count))

    def _draw(self, count: int, labels: Tensor | None, steps: int | None, options: Mapping[str, Any]) -> Tensor:
        expect_finite(self.network, "this checkpoint")
        sampler = with_steps(self.sampler(), steps)
        y = None if labels is None else labels.to(self._device)
        return last(sampler(self.denoiser(), (count, self.length), y=y, device=self._device, **options))

    def _labels(self, y: int | str | Tensor | Request | None, count: int) -> "tuple[Checkpoint, Tensor | None]":
        """Return the checkpoint to sample from, and the label of each sequence.

        Raises:
            ValueError: If there are no such labels or numbers.
        """
        if y is None:
            return self, None
        if self.values is None:
            return self, self._classes(y, count)
        if not isinstance(y, Tensor):
            return self.requesting(y), torch.zeros(count, dtype=torch.int64)  # type: ignore[arg-type]
        if y.shape != (count, len(self.values.columns)):
            expected = f"({count}, {len(self.values.columns)})"
            raise ValueError(f"Expected numbers of {self.values.column} in `y`, {expected}, got {tuple(y.shape)}.")
        requests = [[None if math.isnan(number) else number for number in row] for row in y.double().tolist()]
        return self.requesting(*requests), torch.arange(count)

    def _classes(self, y: Any, count: int) -> Tensor:
        if self.label is None or self.null_label is None:
            raise ValueError("Expected no `y`: this model was trained without labels.")
        if isinstance(y, str):
            if y not in self.label.class_names:
                raise ValueError(f"Expected `y` to be one of {', '.join(self.label.class_names)}, got {y!r}.")
            y = self.label.class_names.index(y)
        try:
            labels = torch.as_tensor(y)
        except (RuntimeError, TypeError, ValueError) as error:
            raise TypeError(f"Expected one integer label or {count} of them in `y`, got {y!r:.80}.") from error
        integers = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
        if not integers or labels.ndim > 1 or labels.numel() not in (1, count):
            raise ValueError(f"Expected one integer label or {count} of them in `y`, got {y!r:.80}.")
        if not bool(((labels >= 0) & (labels <= self.null_label)).all()):
            given = labels.expand(count).tolist()
            raise ValueError(f"Expected 0 <= `y` <= {self.null_label}, the null label, got {given}.")
        return labels.expand(count)

    def __repr__(self) -> str:
        """Describe the model in one line."""
        return f"Checkpoint({self.describe()})"

    def describe(self) -> str:
        """Return process, number of parameters, kind of data and classes in one line."""
        model = self.config["model"]
        kind = (model.get("process") or model["objective"])["_target_"].rpartition(".")[2]
        size = sum(parameter.numel() for parameter in self.network.parameters())
        names = () if self.label is None else self.label.class_names
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        label = f"classes {', '.join(names[:6])}{more}" if names else "no labels"
        if self.values is not None:
            label = f"conditional on {self.values.column}"
        data = self.config["data"].get("kind", "sequences")
        return f"{kind}, {size:,} parameters, {data} of {self.length} tokens, {label}"

    def decode(self, ids: Tensor) -> list[str]:
        """Return the strings of token ids (n, l)."""
        return decode(self.tokenizer, ids)

    def data(self, path: str | None = None) -> SequenceData:
        """Return the training data, with the split and encoding of the training run.

        A relative path in `config` is looked up in the folders above that of the checkpoint, the nearest first, and
        then in the working folder: a run is found from everywhere, and may move together with its data.

        Args:
            path: New location of the data file, if it has moved.

        Raises:
            UndescribedDataError: If the checkpoint does not describe its data, like a converted one.
            ValueError: If `path` is set, but the data come from no file.
            MissingDataError: If the data file is missing.
            FileNotFoundError: If the data come from no single file, and a file of theirs is missing.
        """
        settings = self.config["data"]
        if "rows" not in settings:
            raise UndescribedDataError("This model does not say what it was trained on.")
        place: Any = path
        if path is not None:
            if "path" not in settings["rows"]:
                raise ValueError("Expected no `path`: the data of this model come from no file.")
        elif self.folder is not None and isinstance(settings["rows"].get("path"), str | list):
            place = locate_files(settings["rows"]["path"], self.folder.absolute().parents)
        if place is not None:
            settings = {**settings, "path": place, "rows": {**settings["rows"], "path": place}}
        try:
            return build_data(settings, tokenizer=self.tokenizer, label=self.values or self.label, length=self.length)
        except FileNotFoundError as error:
            if "path" not in settings["rows"]:
                raise
            searched = "" if path is not None else self._searched(place)
            raise MissingDataError(f"The training data are gone: {error}{searched}") from error

    def _searched(self, place: Any) -> str:
        """Return where a relative path of `config` was looked up."""
        if self.folder is None or not isinstance(place, str) or Path(place).is_absolute():
            return ""
        return f" Looked in {Path.cwd()} and in the folders above {self.folder}."

    def with_classifiers(self, **classifiers: ClassifierCheckpoint) -> "Checkpoint":
        """Return the generator with additional classifiers.

        Raises:
            ValueError: If a classifier was trained for another generator, with the first difference.
        """
        for classifier in classifiers.values():
            classifier.matches(self)
        return replace(self, classifiers={**self.classifiers, **classifiers})

    def save(self, directory: str | Path) -> Path:
        """Write the checkpoint with its classifiers, completely or not at all; return the folder.

        Raises:
            ValueError: If a weight is not finite. What was in the directory before then stays.
        """
        directory = Path(directory)
        expect_finite(self.network, f"the checkpoint for {directory}")
        with whole(directory) as partial:
            write_weights(partial, self.network.state_dict())
            self.tokenizer.save_pretrained(partial)
            if (label := self.values or self.label) is not None:
                save_label(label, partial / "label.json")
            for name, classifier in self.classifiers.items():
                classifier.save(partial / "classifiers" / name)
            write_config(partial, self.config)
        return directory
