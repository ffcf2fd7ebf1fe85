"""Views of a sequence that a classifier reads: noisy, prefixes, hidden states of the generator, or clean.

A view is built from the generator of the classifier and rejects unsuitable generators.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Generator, Tensor, nn

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.guidance import Latent
from discrete_diffusion.processes import ContinuousNELBO, CrossEntropy, Process
from discrete_diffusion.schedules import LowDiscrepancyTimes, draw_rows

Times = Callable[..., Tensor]


class ClassifierOutputs(NamedTuple):
    """Outputs of a network for `b` sequences with `k` views each."""

    outputs: Tensor  # (b, k, outputs)
    levels: Tensor  # (b, k), in [0, 1]: noise level, or fraction of the sequence read
    counted: Tensor  # (b, k) bool: false for padding


class View(Protocol):
    """Map from clean sequences to the outputs of a network on a view of them.

    Attributes:
        kind: Kind of the classifier.
        levels: Meaning of a level; None if there is only one.
        random: Whether the view is random.
        guidance: Name of the guidance; None if the classifiers only judge.
    """

    kind: ClassVar[str]
    levels: ClassVar[str | None]
    random: ClassVar[bool]

    @property
    def guidance(self) -> str | None:
        """Name of the evaluator's guidance with these classifiers; None if they only judge."""
        ...

    def __call__(self, network: nn.Module, x0: Tensor, *, generator: Generator) -> ClassifierOutputs:
        """Evaluate the network on views of (b, l); noise is drawn on the generator's device."""
        ...


@dataclass(frozen=True)
class Noisy:
    """Noisy sequences x_t, each at a separate time, for D-CBG (arXiv 2412.10193)."""

    process: Process
    times: Times = LowDiscrepancyTimes()
    kind: ClassVar[str] = "noisy"
    levels: ClassVar[str | None] = "noise level t"
    random: ClassVar[bool] = True
    guidance: ClassVar[str | None] = "classifier_based"

    def __call__(self, network: nn.Module, x0: Tensor, *, generator: Generator) -> ClassifierOutputs:
        """Corrupt and classify the sequences."""
        t = _shuffled(self.times, x0, generator)
        xt = self.process.corrupt(x0, t, generator=generator)
        return _once(network(xt, self.process.schedule.sigma(t)), t)


@dataclass(frozen=True)
class NoisyHidden:
    """Hidden states of a frozen diffusion generator at x_t, for NOS (arXiv 2305.20009)."""

    denoiser: Latent
    process: Process
    times: Times = LowDiscrepancyTimes()
    kind: ClassVar[str] = "hidden"
    levels: ClassVar[str | None] = "noise level t"
    random: ClassVar[bool] = True
    guidance: ClassVar[str | None] = "nos"

    def __call__(self, network: nn.Module, x0: Tensor, *, generator: Generator) -> ClassifierOutputs:
        """Corrupt the sequences and classify the generator's hidden states."""
        t = _shuffled(self.times, x0, generator)
        xt = self.process.corrupt(x0, t, generator=generator)
        with torch.no_grad():
            hidden = self.denoiser.encode(xt, t)
        return _once(network(hidden, self.process.schedule.sigma(t)), t)


@dataclass(frozen=True)
class Prefixes:
    """Every prefix of the data, with `<eos>` and without padding, for FUDGE (arXiv 2104.05218)."""

    pad_id: int | None
    kind: ClassVar[str] = "prefix"
    levels: ClassVar[str | None] = "share of the sequence seen"
    random: ClassVar[bool] = False
    guidance: ClassVar[str | None] = "fudge"

    def __call__(self, network: nn.Module, x0: Tensor, *, generator: Generator) -> ClassifierOutputs:
        """Classify all prefixes in one pass, without randomness."""
        outputs = network.prefixes(x0, _zeros(x0))  # type: ignore[operator]
        real = _real(x0, self.pad_id)
        seen = torch.arange(1, x0.shape[1] + 1, device=x0.device)
        return ClassifierOutputs(outputs, (seen / real.sum(1, keepdim=True)).clamp(max=1), real)


@dataclass(frozen=True)
class HiddenPrefixes:
    """Prefixes of the hidden states of a frozen autoregressive generator, for PPLM (arXiv 1912.02164).

    State i has read the tokens before i, see `NextToken.encode`.
    """

    denoiser: Latent
    pad_id: int | None
    kind: ClassVar[str] = "hidden"
    levels: ClassVar[str | None] = "share of the sequence seen"
    random: ClassVar[bool] = False
    guidance: ClassVar[str | None] = "pplm"

    def __call__(self, network: nn.Module, x0: Tensor, *, generator: Generator) -> ClassifierOutputs:
        """Classify all prefixes of the hidden states in one pass, without randomness."""
        with torch.no_grad():
            hidden = self.denoiser.encode(x0, _zeros(x0))
        outputs = network.prefixes(hidden, _zeros(x0))  # type: ignore[operator]
        # State i has read the tokens up to i - 1, and state 0 only the beginning, which is never padding.
        token = _real(x0, self.pad_id)
        real = torch.cat([torch.ones_like(token[:, :1]), token[:, :-1]], 1)
        seen = torch.arange(x0.shape[1], device=x0.device)
        return ClassifierOutputs(outputs, (seen / token.sum(1, keepdim=True)).clamp(max=1), real)


@dataclass(frozen=True)
class Clean:
    """Clean data with sigma = 0, for classifiers that judge samples."""

    kind: ClassVar[str] = "clean"
    levels: ClassVar[str | None] = None
    random: ClassVar[bool] = False
    guidance: ClassVar[str | None] = None

    def __call__(self, network: nn.Module, x0: Tensor, *, generator: Generator) -> ClassifierOutputs:
        """Classify the sequences, without randomness."""
        return _once(network(x0, _zeros(x0)), _zeros(x0))


def noisy(generator: Checkpoint) -> Noisy:
    """Return the noisy view of a diffusion generator.

    Raises:
        ValueError: If the generator is autoregressive.
    """
    process = generator.process
    if process is None:
        raise ValueError(
            "Expected a diffusion generator for a noisy classifier, and this one goes from left to right: train it a "
            "`task=prefix_classifier` (FUDGE) or a `task=hidden_classifier` (PPLM)."
        )
    return Noisy(process, _times(generator))


def prefixes(generator: Checkpoint) -> Prefixes:
    """Return the prefix view of an autoregressive generator.

    Raises:
        ValueError: If the generator is a diffusion model.
    """
    if generator.process is not None:
        raise ValueError(
            "Expected a generator that goes from left to right for a prefix classifier, and this one is a diffusion: "
            "train it a `task=noisy_classifier` (D-CBG) or a `task=hidden_classifier` (NOS)."
        )
    return Prefixes(generator.tokenizer.pad_token_id)


def hidden(generator: Checkpoint) -> NoisyHidden | HiddenPrefixes:
    """Return the hidden view of a generator.

    Raises:
        ValueError: If the network does not expose its hidden states.
    """
    denoiser = generator.denoiser()
    if not isinstance(denoiser, Latent):
        raise ValueError(
            f"Expected a generator that can be opened for a hidden classifier, and {type(generator.network).__name__} "
            "has no `encode`: train it another kind of classifier."
        )
    process = generator.process
    if process is None:
        return HiddenPrefixes(denoiser, generator.tokenizer.pad_token_id)
    return NoisyHidden(denoiser, process, _times(generator))


def clean(generator: Checkpoint) -> Clean:
    """Return the clean view, which suits any generator with the same tokenizer and length."""
    return Clean()


def _times(generator: Checkpoint) -> Times:
    objective = generator.objective()
    return objective.times if isinstance(objective, ContinuousNELBO | CrossEntropy) else LowDiscrepancyTimes()


def _shuffled(times: Times, x0: Tensor, generator: Generator) -> Tensor:
    # Low-discrepancy times depend on the row. Shuffle them, so that repeated views of a row have different times.
    def shuffled(rows: int, source: Generator | None) -> Tensor:
        t = times(rows, generator=source)
        return t[torch.randperm(rows, generator=source, device=t.device)]

    return draw_rows(shuffled, len(x0), generator).to(x0.device)


def _real(x0: Tensor, pad_id: int | None) -> Tensor:
    return torch.ones_like(x0, dtype=torch.bool) if pad_id is None else x0 != pad_id


def _zeros(x0: Tensor) -> Tensor:
    return torch.zeros(len(x0), device=x0.device)


def _once(outputs: Tensor, levels: Tensor) -> ClassifierOutputs:
    return ClassifierOutputs(outputs[:, None], levels[:, None], torch.ones_like(levels[:, None], dtype=torch.bool))
