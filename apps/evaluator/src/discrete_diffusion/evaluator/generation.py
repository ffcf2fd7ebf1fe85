"""Samples from a checkpoint, and what they cost."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from discrete_diffusion.datasets import decode
from discrete_diffusion.guidance import CountEvaluations, State
from discrete_diffusion.trainer.checkpoint import Checkpoint

Wrapper = Callable[[Callable[..., Tensor]], Callable[..., Tensor]]


@dataclass(frozen=True)
class Generated:
    """Samples of one setting and one seed.

    Attributes:
        strings: the samples, decoded.
        states: every state of the first of them, on the CPU.
        evaluations: passes through the network, one for each row of a batch.
        seconds: wall-clock time, decoding included.
    """

    strings: list[str]
    states: list[State]
    evaluations: int
    seconds: float


@dataclass(frozen=True)
class Generation:
    """How a checkpoint is sampled; calling it samples.

    Random numbers come from a generator on the CPU, so that every device draws the same. They run on from batch to
    batch: another `batch_size` gives other samples.
    """

    checkpoint: Checkpoint
    sampler: Callable[..., Any]
    samples: int
    batch_size: int
    device: torch.device
    clamp: Tensor | None = None
    keep_states_of: int = 0

    def __call__(
        self,
        seed: int,
        y: Tensor | None,
        on_denoiser: Sequence[Wrapper],
        on_kernel: Sequence[Wrapper],
        advance: Callable[[float], None] = lambda rows: None,
    ) -> Generated:
        """Draw `samples` sequences for the labels `y`, (samples,); `advance` is told of rows that are done."""
        network = CountEvaluations(self.checkpoint.network)
        denoiser = self.checkpoint.denoiser(network)
        generator = torch.Generator().manual_seed(seed)
        length = self.checkpoint.length
        steps = getattr(self.sampler, "steps", length)
        strings: list[str] = []
        kept: list[State] = []
        started = time.perf_counter()
        for start in range(0, self.samples, self.batch_size):
            rows = min(self.batch_size, self.samples - start)
            states = self.sampler(
                denoiser,
                (rows, length),
                y=None if y is None else y[start : start + rows].to(self.device),
                on_denoiser=on_denoiser,
                on_kernel=on_kernel,
                clamp=None if self.clamp is None else self.clamp.expand(rows, -1).to(self.device),
                generator=generator,
                device=self.device,
            )
            for index, state in enumerate(states):
                if start == 0 and self.keep_states_of:
                    kept.append(State(state.t, state.x[: self.keep_states_of].cpu()))
                advance(rows / steps if index else 0.0)
            strings += decode(self.checkpoint.tokenizer, state.x.cpu())
        return Generated(strings, kept, network.rows, time.perf_counter() - started)


def with_steps(sampler: Any, steps: int | None) -> Any:
    """The sampler with another number of steps.

    Raises:
        ValueError: if it has none, or `steps` < 1.
    """
    if steps is None:
        return sampler
    if not hasattr(sampler, "steps"):
        raise ValueError(
            "Expected no `sampling.steps`: this model is sampled one token at a time, as many as there are."
        )
    if steps < 1:
        raise ValueError(f"Expected `sampling.steps` >= 1, got {steps}.")
    return replace(sampler, steps=steps)


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
    held = [tokenizer.bos_token_id]
    for index, part in enumerate(prompt.split("_")):
        held += [-1] * bool(index) + tokenizer(part, add_special_tokens=False)["input_ids"] * bool(part)
    if tokenizer.unk_token_id in held:
        raise ValueError(f"Expected a `prompt` of tokens that the model knows, got {prompt!r}.")
    if len(held) > checkpoint.length:
        raise ValueError(f"Expected a `prompt` of at most {checkpoint.length - 1} tokens, got {len(held) - 1}.")
    return torch.tensor([held + [-1] * (checkpoint.length - len(held))])
