"""Rewards of searches."""

import hashlib
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.datasets import decode
from discrete_diffusion.evaluator.domains.domain import Domain, name_of
from discrete_diffusion.evaluator.user_function import UserFunction

REMEMBERED = 2**16  # strings


class Reward:
    """Function from clean tokens (n, l) to rewards (n,), which decodes them and evaluates each string once.

    Args:
        tokenizer: Tokenizer of the model.
        function: Function from a string to a number; None and NaN mean that the string has no reward.
        invalid: Reward of strings without one, and of strings that `accepts` rejects; -inf means "impossible".
        scale: Number that rewards are divided by.
        accepts: Function that tells whether a string has a reward.
        name: Name of the reward; that of the function if None.

    Attributes:
        rewarded: Hashes of the strings that were evaluated since `reset`.

    Raises:
        ValueError: If `scale` or `invalid` is out of range, and in a call, if the function fails or returns no number.
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
        self._named = UserFunction(function, f"reward {self.name}")
        self.rewarded: set[bytes] = set()
        self.unscaled = lru_cache(maxsize=REMEMBERED)(self._unscaled)

    def __call__(self, x0: Tensor) -> Tensor:
        """Return the reward of each sequence."""
        values = [self.of(one) for one in decode(self.tokenizer, x0.cpu())]
        return torch.tensor(values, dtype=torch.float32, device=x0.device)

    def of(self, string: str) -> float:
        """Return the reward of a string."""
        value = self.unscaled(string)
        return self.invalid if value is None else value / self.scale

    @property
    def calls(self) -> int:
        """Number of different strings that were evaluated since `reset`."""
        return len(self.rewarded)

    def reset(self) -> None:
        """Forget all strings."""
        self.unscaled.cache_clear()
        self.rewarded.clear()

    def _unscaled(self, string: str) -> float | None:
        # Hashes of all strings fit in memory, and are the same on every process.
        self.rewarded.add(hashlib.blake2b(string.encode(errors="surrogatepass"), digest_size=8).digest())
        return self._named(string) if self.accepts(string) else None


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
