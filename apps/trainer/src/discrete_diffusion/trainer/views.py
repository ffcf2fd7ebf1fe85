"""What a classifier is shown of a sequence: noisy, from left to right, as the generator's hidden states, or whole.

A view is built from the generator that the classifier is for, and refuses one for which it makes no sense.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Generator, Tensor, nn

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.processes import Process
from discrete_diffusion.schedules import LowDiscrepancyTimes

Times = Callable[..., Tensor]


class Seen(NamedTuple):
    """What a network said of `b` sequences, each seen `k` times."""

    outputs: Tensor  # (b, k, outputs)
    levels: Tensor  # (b, k), in [0, 1]: how noisy, or how much was seen
    counted: Tensor  # (b, k) bool: false where there was nothing to see


class View(Protocol):
    """From clean sequences to what a network says of them.

    Attributes:
        kind: of the classifier.
        levels: what a level is; None where there is one alone.
        random: whether a sequence looks different each time it is shown.
        guidance: None where the classifiers only judge.
    """

    kind: ClassVar[str]
    levels: ClassVar[str | None]
    random: ClassVar[bool]

    @property
    def guidance(self) -> str | None:
        """What the evaluator's guidance by these classifiers is called."""
        ...

    def __call__(self, network: nn.Module, x0: Tensor, *, generator: Generator) -> Seen:
        """Show the sequences (b, l); noise is drawn on the generator's device."""
        ...


@dataclass(frozen=True)
class Noisy:
    """x_t at a time of its own for each sequence: a classifier for D-CBG (arXiv 2412.10193)."""

    process: Process
    times: Times = LowDiscrepancyTimes()
    kind: ClassVar[str] = "noisy"
    levels: ClassVar[str | None] = "noise level t"
    random: ClassVar[bool] = True
    guidance: ClassVar[str | None] = "classifier_based"

    def __call__(self, network: nn.Module, x0: Tensor, *, generator: Generator) -> Seen:
        """Corrupt and classify."""
        t = _shuffled(self.times, x0, generator)
        xt = self.process.corrupt(x0, t, generator=generator)
        return _once(network(xt, self.process.schedule.sigma(t)), t)


@dataclass(frozen=True)
class NoisyHidden:
    """The hidden states that a frozen diffusion generator has of x_t: a classifier for NOS (arXiv 2305.20009)."""

    denoiser: Any
    process: Process
    times: Times = LowDiscrepancyTimes()
    kind: ClassVar[str] = "hidden"
    levels: ClassVar[str | None] = "noise level t"
    random: ClassVar[bool] = True
    guidance: ClassVar[str | None] = "nos"

    def __call__(self, network: nn.Module, x0: Tensor, *, generator: Generator) -> Seen:
        """Corrupt, let the generator read, and classify."""
        t = _shuffled(self.times, x0, generator)
        xt = self.process.corrupt(x0, t, generator=generator)
        with torch.no_grad():
            hidden = self.denoiser.encode(xt, t)
        return _once(network(hidden, self.process.schedule.sigma(t)), t)


@dataclass(frozen=True)
class Prefixes:
    """Every prefix of the data, `<eos>` included and padding left out: a classifier for FUDGE (arXiv 2104.05218)."""

    pad_id: int | None
    kind: ClassVar[str] = "prefix"
    levels: ClassVar[str | None] = "share of the sequence seen"
    random: ClassVar[bool] = False
    guidance: ClassVar[str | None] = "fudge"

    def __call__(self, network: nn.Module, x0: Tensor, *, generator: Generator) -> Seen:
        """Classify all prefixes in one pass; nothing is drawn."""
        outputs = network.prefixes(x0, _zeros(x0))  # type: ignore[operator]
        real = _real(x0, self.pad_id)
        seen = torch.arange(1, x0.shape[1] + 1, device=x0.device)
        return Seen(outputs, (seen / real.sum(1, keepdim=True)).clamp(max=1), real)


@dataclass(frozen=True)
class HiddenPrefixes:
    """The hidden states of a frozen left-to-right generator, up to each of them: a classifier for PPLM (1912.02164).

    State i has seen the tokens before i, as `NextToken.encode` says.
    """

    denoiser: Any
    pad_id: int | None
    kind: ClassVar[str] = "hidden"
    levels: ClassVar[str | None] = "share of the sequence seen"
    random: ClassVar[bool] = False
    guidance: ClassVar[str | None] = "pplm"

    def __call__(self, network: nn.Module, x0: Tensor, *, generator: Generator) -> Seen:
        """Let the generator read, and classify all prefixes in one pass; nothing is drawn."""
        with torch.no_grad():
            hidden = self.denoiser.encode(x0, _zeros(x0))
        outputs = network.prefixes(hidden, _zeros(x0))  # type: ignore[operator]
        # the last token that state i has seen is i - 1; state 0 has seen the beginning alone, which is never padding
        token = _real(x0, self.pad_id)
        real = torch.cat([torch.ones_like(token[:, :1]), token[:, :-1]], 1)
        seen = torch.arange(x0.shape[1], device=x0.device)
        return Seen(outputs, (seen / token.sum(1, keepdim=True)).clamp(max=1), real)


@dataclass(frozen=True)
class Clean:
    """The data itself, at sigma 0: a classifier that judges samples."""

    kind: ClassVar[str] = "clean"
    levels: ClassVar[str | None] = None
    random: ClassVar[bool] = False
    guidance: ClassVar[str | None] = None

    def __call__(self, network: nn.Module, x0: Tensor, *, generator: Generator) -> Seen:
        """Classify; nothing is drawn."""
        return _once(network(x0, _zeros(x0)), _zeros(x0))


def noisy(generator: Checkpoint) -> Noisy:
    """Raises ValueError for a generator without noise."""
    process = getattr(generator.denoiser(), "process", None)
    if process is None:
        raise ValueError(
            "Expected a diffusion generator for a noisy classifier, and this one goes from left to right: train it a "
            "`task=prefix_classifier` (FUDGE) or a `task=hidden_classifier` (PPLM)."
        )
    return Noisy(process, _times(generator))


def prefixes(generator: Checkpoint) -> Prefixes:
    """Raises ValueError for a generator that does not go from left to right."""
    if getattr(generator.denoiser(), "process", None) is not None:
        raise ValueError(
            "Expected a generator that goes from left to right for a prefix classifier, and this one is a diffusion: "
            "train it a `task=noisy_classifier` (D-CBG) or a `task=hidden_classifier` (NOS)."
        )
    return Prefixes(generator.tokenizer.pad_token_id)


def hidden(generator: Checkpoint) -> NoisyHidden | HiddenPrefixes:
    """Raises ValueError for a generator whose network has no hidden states to show."""
    denoiser = generator.denoiser()
    if not hasattr(denoiser, "encode"):
        raise ValueError(
            f"Expected a generator that can be opened for a hidden classifier, and {type(generator.network).__name__} "
            "has no `encode`: train it another kind of classifier."
        )
    process = getattr(denoiser, "process", None)
    if process is None:
        return HiddenPrefixes(denoiser, generator.tokenizer.pad_token_id)
    return NoisyHidden(denoiser, process, _times(generator))


def clean(generator: Checkpoint) -> Clean:
    """Of any generator: the tokenizer and the length are what counts."""
    return Clean()


def _times(generator: Checkpoint) -> Times:
    return getattr(generator.objective(), "times", LowDiscrepancyTimes())


def _shuffled(times: Times, x0: Tensor, generator: Generator) -> Tensor:
    # low-discrepancy times fall along the batch: unshuffled, a row that is shown again would be shown at the same time
    t = times(len(x0), generator=generator)
    return t[torch.randperm(len(t), generator=generator, device=t.device)].to(x0.device)


def _real(x0: Tensor, pad_id: int | None) -> Tensor:
    return torch.ones_like(x0, dtype=torch.bool) if pad_id is None else x0 != pad_id


def _zeros(x0: Tensor) -> Tensor:
    return torch.zeros(len(x0), device=x0.device)


def _once(outputs: Tensor, levels: Tensor) -> Seen:
    return Seen(outputs[:, None], levels[:, None], torch.ones_like(levels[:, None], dtype=torch.bool))
