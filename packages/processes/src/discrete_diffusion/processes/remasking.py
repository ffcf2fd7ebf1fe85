"""Reverse kernels that mask revealed tokens again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.processes.absorbing import Absorbing
from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.protocols import Condition, Denoiser, given


@runtime_checkable
class RemaskingRate(Protocol):
    """Map from the largest admissible remasking probability to the probability used."""

    def __call__(self, largest: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return sigma in [0, `largest`]."""
        ...


@dataclass(frozen=True)
class Capped:
    """sigma = min(eta, sigma_max) (ReMDM-cap, arXiv 2503.00307, section 4.1).

    Args:
        eta: Largest probability with which a revealed token is masked in one step, in [0, 1].

    Raises:
        ValueError: If `eta` is not in [0, 1].
    """

    eta: float | int

    def __post_init__(self) -> None:
        _check_fraction("eta", self.eta)

    def __call__(self, largest: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return min(eta, `largest`)."""
        return largest.clamp(max=self.eta)


@dataclass(frozen=True)
class Rescaled:
    """sigma = eta sigma_max (ReMDM-rescale, arXiv 2503.00307, section 4.1).

    Args:
        eta: Fraction of the largest admissible probability, in [0, 1].

    Raises:
        ValueError: If `eta` is not in [0, 1].
    """

    eta: float | int

    def __post_init__(self) -> None:
        _check_fraction("eta", self.eta)

    def __call__(self, largest: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return eta times `largest`."""
        return self.eta * largest


@dataclass(frozen=True)
class Remasking:
    """Reverse kernel of masked diffusion that corrects revealed tokens (ReMDM, arXiv 2503.00307, eq. 4).

    A step from t to s masks a revealed token with probability sigma and keeps it otherwise; a mask becomes

        x_0 ~ p(x_0 | x_t)  with probability  (alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t)

    and stays a mask otherwise. The marginal is alpha_s x_0 + (1 - alpha_s) mask for every sigma in [0, sigma_max],
    sigma_max = min(1, (1 - alpha_s) / alpha_t). At s = 0, sigma_max is 0: no mask is left in a sample. With sigma = 0
    it is `Ancestral`.

    Guidance of the denoiser keeps the rates of revealing and remasking; guidance of this kernel changes them too.

    Args:
        process: Masked diffusion.
        denoiser: Log-probabilities of the clean tokens.
        rate: Map from sigma_max to sigma: `Capped` or `Rescaled`.
        loop: (start, stop, level), 1 > start > stop > 0: between the times `start` and `stop` the survival stays at
            alpha(level) and tokens are remasked; before and after, the kernel is ancestral and passes from t = 1 to
            `level` and from `level` to 0 (ReMDM-loop, section 4.2). None remasks at all times.

    Raises:
        ValueError: If `process` is not masked diffusion, or `loop` is not ordered as above.
    """

    process: Process
    denoiser: Denoiser
    rate: RemaskingRate
    loop: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.process, Absorbing):
            raise ValueError(f"Expected masked diffusion for remasking, got {type(self.process).__name__}.")
        if self.loop is not None:
            start, stop, level = self.loop
            if not (1 > start > stop > 0 and 0 < level < 1):
                raise ValueError(
                    "Expected 1 > start > stop > 0 and 0 < level < 1 in `loop` = (start, stop, level), "
                    f"got {self.loop}."
                )

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        s: Float[Tensor, " b"],
        *,
        y: Condition | None = None,
    ) -> Float[Tensor, "b l v"]:
        """Return log p(x_s | x_t, y) of the step from t to s."""
        corrects = torch.ones_like(t, dtype=torch.bool)
        if self.loop is not None:
            start, stop, _ = self.loop
            corrects = (t <= start) & (s >= stop)
            t, s = self._looped(t), self._looped(s)
        sigma_t, sigma_s = self.process.schedule.sigma(t), self.process.sigma_or_data(s)
        # expm1 keeps 1 - alpha accurate where alpha is close to 1.
        lost_t, lost_s, alpha_t = -torch.expm1(-sigma_t), -torch.expm1(-sigma_s), (-sigma_t).exp()
        remask = torch.where(corrects, self.rate((lost_s / alpha_t).clamp(max=1)), 0.0)
        stay = (lost_s - remask * alpha_t) / lost_t
        reveal = (alpha_t * (torch.expm1(sigma_t - sigma_s) + remask)) / lost_t
        log_x0 = self.denoiser(xt, t, **given(y=y))
        assert isinstance(self.process, Absorbing)
        mask_id = self.process.mask_id
        is_mask_token = torch.arange(self.process.vocab_size, device=xt.device) == mask_id
        log_stay, log_reveal = stay.clamp(min=0).log(), reveal.clamp(0, 1).log()
        masked = torch.where(is_mask_token, log_stay[:, None, None], log_x0 + log_reveal[:, None, None])
        kept = torch.full_like(log_x0, -math.inf).scatter(
            -1, xt[..., None], torch.log1p(-remask)[:, None, None].expand(*xt.shape, 1).to(log_x0.dtype)
        )
        revealed = torch.where(is_mask_token, remask.log()[:, None, None], kept)
        return torch.where((xt == mask_id)[..., None], masked, revealed)

    def _looped(self, t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the time of the process at time t of the sampler."""
        assert self.loop is not None
        start, stop, level = self.loop
        before = 1 - (1 - t) * (1 - level) / (1 - start)
        after = t * level / stop
        return torch.where(t > start, before, torch.where(t < stop, after, torch.full_like(t, level)))


def _check_fraction(name: str, value: float | int) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"Expected 0 <= `{name}` <= 1, got {value}.")
