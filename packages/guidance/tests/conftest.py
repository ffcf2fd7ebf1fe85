from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

NULL = 2


@dataclass(frozen=True)
class AbsorbingWorld:
    """The exact absorbing model of an Oracle, alpha(t) = 1 - t: labels 0 and 1, 2 is "no label"."""

    oracle: object
    mask: int

    def denoiser(self, xt: Tensor, t: Tensor, *, y: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        # An absorbing posterior does not depend on alpha, so that any alpha serves.
        tables = torch.stack([self.oracle.denoiser(0.5, label) for label in (0, 1, None)])
        labels = torch.full((len(xt),), NULL) if y is None else y
        log_probs = tables[labels, self.oracle.index(xt)].log()
        return log_probs if at is None else log_probs[at]

    def lift(self, denoiser):
        """The exact ancestral kernel: a mask stays with probability s / t."""

        def kernel(xt, t, s, *, y=None):
            stay = (s / t)[:, None, None]
            keep = torch.nn.functional.one_hot(xt, self.mask + 1).double()
            x0 = (denoiser(xt, t) if y is None else denoiser(xt, t, y=y)).exp()
            return torch.where((xt == self.mask)[..., None], stay * keep + (1 - stay) * x0, keep).log()

        return kernel

    @property
    def kernel(self):
        return self.lift(self.denoiser)


@pytest.fixture
def world(oracle):
    """Make the world of `length` positions over 3 tokens and a mask (3)."""

    def make(length: int) -> AbsorbingWorld:
        mask = 3
        noise = torch.nn.functional.one_hot(torch.tensor(mask), mask + 1).double()
        return AbsorbingWorld(oracle.random(mask + 1, length, noise, mask_id=mask), mask)

    return make
