"""Moving averages of the weights, which update all parameters in one call."""

from collections.abc import Sequence

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EMA(WeightAveraging):
    """Exponential moving average of the weights, which starts after the first step.

    It is Lightning's `EMAWeightAveraging` in a fifth of the time, which was a tenth of a step of the default model.

    Args:
        decay: Share of the average that an update keeps.

    Raises:
        ValueError: If `decay` is not in [0, 1].
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"Expected `decay` in [0, 1], got {decay}.")
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))


class WarmupEMA(WeightAveraging):
    r"""Exponential moving average of the parameters, whose decay rises with the number of updates.

    Update n = 1, 2, ... is

        average <- d_n average + (1 - d_n) parameters,    d_n = min(decay, (1 + n) / (10 + n)),

    and the average starts from the initial parameters, as in the code of arXiv 2412.10193. A decay of 0.9999 is reached
    after 89,990 updates; before, the average is over about the last ninth of the updates.

    Args:
        decay: Largest decay.

    Raises:
        ValueError: If `decay` is not in [0, 1).
    """

    def __init__(self, decay: float = 0.9999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"Expected 0 <= `decay` < 1, got {decay}.")
        self.decay = decay
        super().__init__(use_buffers=False, multi_avg_fn=self._update)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Start the average from the initial parameters."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            assert self._average_model is not None
            # From 0, the first update would replace the average instead of updating it.
            self._average_model.n_averaged.fill_(1)

    def _update(self, average: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        n = int(updates)
        parameters = [parameter.to(averaged.dtype) for averaged, parameter in zip(average, current, strict=True)]
        get_ema_multi_avg_fn(min(self.decay, (1 + n) / (10 + n)))(list(average), parameters, updates)
