"""Samples from a checkpoint, and what they cost."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import decode
from discrete_diffusion.evaluator.steering import Steering
from discrete_diffusion.guidance import CountEvaluations, ParticleState, State


@dataclass(frozen=True)
class Weights:
    """What became of the particles' weights at one time, over all searches.

    Attributes:
        t: the time.
        ess_share: mean effective sample size, as a share of the particles.
        resampled_share: share of the searches whose particles were resampled.
    """

    t: float
    ess_share: float
    resampled_share: float


@dataclass(frozen=True)
class Generated:
    """Samples of one setting and one seed.

    Attributes:
        ids: the samples, (samples, l), on the CPU.
        strings: the same, decoded.
        states: every state of the first of them, on the CPU.
        cost: network evaluations (passes of the generator, one for each row of a batch), rows of the classifiers,
            calls of the reward, and seconds of wall-clock time, decoding included.
        weights: of the particles at each step, where there are any.
    """

    ids: Tensor
    strings: list[str]
    states: list[State]
    cost: Mapping[str, float]
    weights: list[Weights] = field(default_factory=list)

    def numbers(self) -> dict[str, float | None]:
        """The columns of results.csv that tell of cost, and of particles: means over steps that weigh or resample."""
        weighed, resampled = self.weights[1:], self.weights[1:-1]
        return {
            **self.cost,
            "mean_ess_share": fmean(one.ess_share for one in weighed) if weighed else None,
            "resampled_share": fmean(one.resampled_share for one in resampled) if resampled else None,
        }


@dataclass(frozen=True)
class Generation:
    """How a checkpoint is sampled; calling it samples.

    Random numbers come from a generator on the CPU, so that every device draws the same. They run on from batch to
    batch: another `batch_size` gives other samples. A search's rows count toward it.
    """

    checkpoint: Checkpoint
    sampler: Callable[..., Any]
    batch_size: int
    device: torch.device
    clamp: Tensor | None = None
    allowed: Tensor | None = None
    keep_states_of: int = 0

    def try_out(self, steering: Steering) -> None:
        """Put everything together for one sample, and draw none: what does not fit raises.

        Raises:
            ValueError: if a method is not defined for the model, or one of its numbers is out of range.
        """
        self._states(self.checkpoint.denoiser(), 1, None, steering, torch.Generator())

    def __call__(
        self,
        samples: int,
        seed: int,
        y: Tensor | None,
        steering: Steering,
        advance: Callable[[float], None] = lambda rows: None,
    ) -> Generated:
        """Draw `samples` sequences for the labels `y`, (samples,); `advance` is told of rows that are done."""
        network = CountEvaluations(self.checkpoint.network)
        denoiser = self.checkpoint.denoiser(network)
        generator = torch.Generator().manual_seed(seed)
        steps = getattr(self.sampler, "steps", self.checkpoint.length)
        size = self.batch_size if steering.search is None else max(1, self.batch_size // steering.search.rows(1))
        drawn: list[Tensor] = []
        strings: list[str] = []
        kept: list[State] = []
        sums: dict[float, list[float]] = {}
        steering.start()
        started = time.perf_counter()
        for start in range(0, samples, size):
            rows = min(size, samples - start)
            labels = None if y is None else y[start : start + rows].to(self.device)
            for index, state in enumerate(self._states(denoiser, rows, labels, steering, generator)):
                if start == 0 and self.keep_states_of:
                    kept.append(State(state.t, state.x[: self.keep_states_of].cpu()))
                if isinstance(state, ParticleState):
                    sums.setdefault(state.t, [0.0, 0.0])
                    sums[state.t][0] += state.ess.sum().item()
                    sums[state.t][1] += state.resampled.sum().item()
                advance(rows / steps if index else 0.0)
            drawn.append(state.x.cpu())
            strings += decode(self.checkpoint.tokenizer, drawn[-1])
        seconds = round(time.perf_counter() - started, 3)
        cost = {"network_evaluations": network.rows, **steering.cost(), "seconds": seconds}
        particles = 1 if steering.search is None else steering.search.rows(1)
        weights = [Weights(t, ess / samples / particles, resampled / samples) for t, (ess, resampled) in sums.items()]
        return Generated(torch.cat(drawn), strings, kept, cost, weights)

    def _states(
        self,
        denoiser: Callable[..., Tensor],
        rows: int,
        y: Tensor | None,
        steering: Steering,
        generator: torch.Generator,
    ) -> Any:
        return self.sampler(
            denoiser,
            (rows, self.checkpoint.length),
            y=y,
            **steering.arguments(),
            allowed=self.allowed,
            clamp=None if self.clamp is None else self.clamp.expand(rows, -1).to(self.device),
            generator=generator,
            device=self.device,
        )


def first_position(checkpoint: Checkpoint) -> int:
    """Where the first token of a string stands: 1 behind `<bos>`, 0 where sequences have none."""
    special = checkpoint.config["data"].get("layout", {}).get("special_tokens", True)
    return int(special and checkpoint.tokenizer.bos_token_id is not None)


def read_prompt(prompt: str | None, checkpoint: Checkpoint) -> Tensor | None:
    """The token that each position must hold, (1, l), -1 where it is free; `_` in the prompt is one free token.

    Exact where the process is absorbing, and for a left-to-right model if no `_` comes before a token; else a
    heuristic (see `discrete_diffusion.guidance.trajectory`).

    Raises:
        ValueError: if a token is unknown, `_` is one, or the prompt is too long.
    """
    if prompt is None:
        return None
    tokenizer = checkpoint.tokenizer
    if "_" in tokenizer.get_vocab():
        raise ValueError("Expected no `prompt`: `_` stands for a free token, and it is a token of this model.")
    first = first_position(checkpoint)
    held = [tokenizer.bos_token_id] * first
    for index, part in enumerate(prompt.split("_")):
        held += [-1] * bool(index) + tokenizer(part, add_special_tokens=False)["input_ids"] * bool(part)
    if tokenizer.unk_token_id in held:
        raise ValueError(f"Expected a `prompt` of tokens that the model knows, got {prompt!r}.")
    if len(held) > checkpoint.length:
        raise ValueError(f"Expected a `prompt` of at most {checkpoint.length - first} tokens, got {len(held) - first}.")
    return torch.tensor([held + [-1] * (checkpoint.length - len(held))])
