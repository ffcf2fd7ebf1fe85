"""Predictions of a masked-diffusion network at visible positions."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.processes.absorbing import Absorbing
from discrete_diffusion.processes.denoiser import NetworkDenoiser
from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.protocols import Condition, Denoiser, given


@runtime_checkable
class _Wrapper(Protocol):
    """Denoiser around another one."""

    @property
    def base(self) -> Denoiser: ...


@dataclass(frozen=True)
class RawPrediction:
    """Log-probabilities of the network behind a denoiser, without carrying visible tokens over.

    It rates visible tokens, as planners do. Training on masks alone leaves these predictions untrained: they depend on
    what the network learned beside. Wrappers around the denoiser are left out.

    Args:
        process: Masked diffusion.
        denoiser: A `NetworkDenoiser`, or wrappers of one that have it as their innermost `base`.

    Raises:
        ValueError: If `process` is not masked diffusion, or there is no network behind the denoiser.
    """

    process: Process
    denoiser: Denoiser

    def __post_init__(self) -> None:
        if not isinstance(self.process, Absorbing):
            raise ValueError(f"Expected masked diffusion for raw predictions, got {type(self.process).__name__}.")
        self._innermost()

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        *,
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """Return log p(x_0), the mask excluded, (b, l, v), or (n, v) at the positions where `at` is true."""
        assert isinstance(self.process, Absorbing)
        logits = self._innermost().network(xt, self.process.schedule.sigma(t), **given(y=y, at=at))
        is_mask_token = torch.arange(self.process.vocab_size, device=logits.device) == self.process.mask_id
        return logits.masked_fill(is_mask_token, -torch.inf).log_softmax(-1)

    def _innermost(self) -> NetworkDenoiser:
        model = self.denoiser
        while not isinstance(model, NetworkDenoiser):
            if not isinstance(model, _Wrapper):
                raise ValueError(f"Expected a NetworkDenoiser, or wrappers of one, got {type(model).__name__}.")
            model = model.base
        return model
