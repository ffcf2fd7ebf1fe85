"""Single-token jumps, what classifier-based guidance weighs: the sequences that differ from x_t in one position."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.protocols import LogLikelihood, Model, is_left_to_right


@dataclass(frozen=True)
class Jumps:
    """The outcomes of a model at n positions of a batch, each read as the jump of x_t to that token there.

    Attributes:
        xt: the sequences.
        t: their times.
        row: the row of the batch of each of the n positions.
        position: its place in the sequence.
        log_probs: the model's law at each.
        gamma: guidance strength of each.
    """

    xt: Int[Tensor, "b l"]
    t: Float[Tensor, " b"]
    row: Int[Tensor, " n"]
    position: Int[Tensor, " n"]
    log_probs: Float[Tensor, "n v"]
    gamma: Float[Tensor, " n"]

    @classmethod
    def of(
        cls,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        log_probs: Float[Tensor, "*rows v"],
        at: Bool[Tensor, "b l"] | None,
        gamma: Float[Tensor, " b"],
    ) -> "Jumps":
        """Read what a model returned, (b, l, v), or (n, v) for the positions of `at`."""
        wanted = torch.ones_like(xt, dtype=torch.bool) if at is None else at
        row, position = wanted.nonzero(as_tuple=True)
        return cls(xt, t, row, position, log_probs.flatten(0, -2), gamma[row])

    @cached_property
    def undecided(self) -> Bool[Tensor, " n"]:
        """Where guidance can change anything: more than one possible outcome, and a strength above 0."""
        return ((self.log_probs > -torch.inf).sum(-1) > 1) & (self.gamma > 0)

    @property
    def stays(self) -> Bool[Tensor, "n v"]:
        """The possible outcomes of undecided positions that leave the sequence as it is."""
        return self._outcomes & self._present

    @property
    def moves(self) -> Bool[Tensor, "n v"]:
        """The possible outcomes of undecided positions that change it."""
        return self._outcomes & ~self._present

    @cached_property
    def _outcomes(self) -> Bool[Tensor, "n v"]:
        return (self.log_probs > -torch.inf) & self.undecided[:, None]

    @cached_property
    def _present(self) -> Bool[Tensor, "n v"]:
        token = self.xt[self.row, self.position]
        return torch.arange(self.log_probs.shape[-1], device=token.device) == token[:, None]

    @torch.no_grad()
    def log_likelihoods(
        self, likelihood: LogLikelihood, chosen: Bool[Tensor, "n v"], max_rows: int
    ) -> Float[Tensor, " m"]:
        """Return log p(y | x_t with the jump made, t) of the m chosen jumps in row-major order.

        The sequences are built and handed to the likelihood at most `max_rows` at a time.
        """
        values = []
        for flat in chosen.flatten().nonzero()[:, 0].split(max_rows):
            if not len(flat):  # an empty tensor splits into one empty chunk
                break
            site, token = flat // chosen.shape[1], flat % chosen.shape[1]
            row = self.row[site]
            sequences = self.xt[row].scatter(1, self.position[site, None], token[:, None])
            values.append(check_likelihoods(likelihood(sequences, self.t[row]), sequences).to(self.log_probs.dtype))
        return torch.cat(values) if values else self.log_probs.new_zeros(0)

    def tilt(self, score: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        """Return log p + gamma score + const, and what is decided or has gamma = 0 as it was."""
        tilted = normalize(self.log_probs + self.gamma[:, None] * score)
        return tilted.where(self.undecided[:, None], self.log_probs)


def check_likelihoods(log_likelihoods: Tensor, x: Tensor) -> Tensor:
    """Return what a likelihood returned for `x`, one number per row, or raise."""
    if log_likelihoods.shape != x.shape[:1]:
        raise ValueError(
            f"Expected `likelihood` to return ({len(x)},), log p(y | x_t) of the wanted condition alone, got "
            f"{tuple(log_likelihoods.shape)}: ClassLikelihood takes one column of a classifier."
        )
    return log_likelihoods


def check_sees_all(base: Model, method: str) -> None:
    """Raise over a left-to-right model: a classifier of noisy sequences cannot read what is not drawn yet."""
    if is_left_to_right(base):
        raise ValueError(f"Expected a diffusion model under {method}, got one from left to right: use FUDGE or PPLM.")


def check_count(name: str, value: int, least: int) -> None:
    """Raise unless a number of sequences or jumps is at least what makes sense."""
    if value < least:
        raise ValueError(f"Expected `{name}` >= {least}, got {value}.")
