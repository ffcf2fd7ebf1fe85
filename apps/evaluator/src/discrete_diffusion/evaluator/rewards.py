"""Rewards of searches: functions from a decoded string to a number."""

import math
from collections.abc import Callable
from functools import lru_cache
from numbers import Real
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.datasets import decode
from discrete_diffusion.evaluator.domains.domain import Domain, name_of

REMEMBERED = 2**16  # strings


class Reward:
    """From clean tokens (n, l) to rewards (n,): tokens are decoded, and each string is judged once.

    Args:
        function: from a string to a number; None and NaN mean that it has none.
        invalid: what a string that has none, or is none that `accepts` takes, is worth; -inf is "impossible".
        scale: what the number is divided by.
        accepts: whether a string is one that the function is asked of.
        name: what it is called.

    Raises:
        ValueError: on calling, if the function fails or returns something else.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        function: Callable[[str], Any],
        *,
        invalid: float = -math.inf,
        scale: float = 1.0,
        accepts: Callable[[str], bool] = lambda string: True,
        name: str | None = None,
    ) -> None:
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"Expected a finite `reward.scale` > 0, got {scale}.")
        if math.isnan(invalid) or invalid == math.inf:
            raise ValueError(f"Expected a number or -inf for `reward.invalid`, got {invalid}.")
        self.tokenizer, self.function, self.accepts = tokenizer, function, accepts
        self.invalid, self.scale, self.name = float(invalid), scale, name or name_of(function)
        self.of = lru_cache(maxsize=REMEMBERED)(self._judge)

    def __call__(self, x0: Tensor) -> Tensor:
        """The reward of each sequence."""
        values = [self.of(one) for one in decode(self.tokenizer, x0.cpu())]
        return torch.tensor(values, dtype=torch.float32, device=x0.device)

    @property
    def calls(self) -> int:
        """Strings that were judged since `reset`."""
        return self.of.cache_info().misses

    def reset(self) -> None:
        """Forget every string."""
        self.of.cache_clear()

    def _judge(self, string: str) -> float:
        if not self.accepts(string):
            return self.invalid
        try:
            value = self.function(string)
        except Exception as error:  # it is somebody's own function
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ValueError(f"The reward {self.name} failed on {string!r}: {reason}") from error
        if value is not None and not isinstance(value, Real):
            raise ValueError(f"Expected the reward {self.name} to return a number, got {value!r} of {string!r}.")
        number = math.nan if value is None else float(value)
        return self.invalid if math.isnan(number) else number / self.scale


def build_reward(config: DictConfig, domain: Domain, tokenizer: PreTrainedTokenizerBase, example: str) -> Reward:
    """Return the reward that `config` names, or the domain's property, after a trial on `example`.

    Without `scale`, the domain's property is divided by its standard deviation in the training data, so that a guidance
    scale has about the same effect for every property; another function is not scaled.

    Raises:
        ValueError: If it does not return a number.
    """
    settings: Any = OmegaConf.to_container(config, resolve=True)
    scale = settings["scale"]
    if settings["function"]["_target_"] is None:
        function, name = domain.property, domain.property_name
        scale = (domain.training["std"] or 1.0) if scale is None else scale
    else:
        function = instantiate(settings["function"])
        name = name_of(function)
    reward = Reward(
        tokenizer,
        function,
        invalid=settings["invalid"],
        scale=1.0 if scale is None else float(scale),
        accepts=domain.accepts,
        name=name,
    )
    reward.of(example)
    reward.reset()
    return reward
