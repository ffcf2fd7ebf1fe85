"""Single-token jumps: the sequences that differ from x_t in one position, as classifier guidance weighs them."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.log_probs import normalize
from discrete_diffusion.guidance.protocols import LogLikelihood, Model, is_left_to_right

_TOKENS_ON_CPU = 2048
_TOKENS_ON_ACCELERATOR = 131_072


@dataclass(frozen=True)
class Jumps:
    """Outcomes of a model at n positions of a batch, each read as a jump of x_t to that token at that position.

    Args:
        xt: Sequences.
        t: Times.
        row: Row of the batch, for each of the n positions.
        position: Index in the sequence, for each of the n positions.
        log_probs: Log-probabilities of the model, for each of the n positions.
        gamma: Guidance strength, for each of the n positions.
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
        """Return the jumps for the log-probabilities of a model: (b, l, v), or (n, v) for the positions of `at`."""
        row, position = (torch.ones_like(xt, dtype=torch.bool) if at is None else at).nonzero(as_tuple=True)
        return cls(xt, t, row, position, log_probs.flatten(0, -2), gamma[row])

    @cached_property
    def undecided(self) -> Bool[Tensor, " n"]:
        """Positions that guidance can change: more than one possible outcome, and a strength above 0."""
        return ((self.log_probs > -torch.inf).sum(-1) > 1) & (self.gamma > 0)

    @property
    def stays(self) -> Bool[Tensor, "n v"]:
        """Possible outcomes of undecided positions that leave the sequence unchanged."""
        return self._outcomes & self._present

    @property
    def moves(self) -> Bool[Tensor, "n v"]:
        """Possible outcomes of undecided positions that change the sequence."""
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
        self, likelihood: LogLikelihood, chosen: Bool[Tensor, "n v"], max_rows: int | None
    ) -> Float[Tensor, " m"]:
        """Return log p(y | x_t after the jump, t) of the m chosen jumps, in row-major order.

        The likelihood is called with at most `max_rows` sequences at a time. None limits the tokens of a call, to which
        a classifier's activations are proportional: to a size that stays in the cache of a CPU, where larger calls take
        up to 1.6 times as long, and that keeps an accelerator busy.
        """
        if max_rows is None:
            tokens = _TOKENS_ON_CPU if self.xt.device.type == "cpu" else _TOKENS_ON_ACCELERATOR
            max_rows = max(1, tokens // max(1, self.xt.shape[1]))
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
        """Return log p + gamma score + const; decided positions and those with gamma = 0 keep log p."""
        tilted = normalize(self.log_probs + self.gamma[:, None] * score)
        return tilted.where(self.undecided[:, None], self.log_probs)


def check_likelihoods(
    log_likelihoods: Float[Tensor, "..."], x: Int[Tensor, "n l"] | Float[Tensor, "n l v"]
) -> Float[Tensor, " n"]:
    """Return `log_likelihoods`, the result of a likelihood for `x`, if it has one number per row.

    Raises:
        ValueError: If it does not.
    """
    if log_likelihoods.shape != x.shape[:1]:
        raise ValueError(
            f"Expected `likelihood` to return ({len(x)},), log p(y | x_t) of one condition, got "
            f"{tuple(log_likelihoods.shape)}: ClassLikelihood takes one column of a classifier."
        )
    return log_likelihoods


def check_sees_all(base: Model, method: str) -> None:
    """Raise for a left-to-right model, since a classifier of whole sequences cannot read tokens not yet drawn.

    Raises:
        ValueError: If `base` is a left-to-right model.
    """
    if is_left_to_right(base):
        raise ValueError(f"Expected a diffusion model under {method}, got one from left to right: use FUDGE or PPLM.")


def check_count(name: str, value: int | None, least: int) -> None:
    """Raise unless a number of sequences or jumps is None or at least `least`.

    Raises:
        ValueError: If it is less.
    """
    if value is not None and value < least:
        raise ValueError(f"Expected `{name}` >= {least}, got {value}.")
