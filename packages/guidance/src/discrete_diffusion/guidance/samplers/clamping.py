"""Given tokens, held while the rest is generated."""

from jaxtyping import Int
from torch import Tensor


def check_clamp(clamp: Int[Tensor, "b l"] | None, xt: Int[Tensor, "b l"]) -> None:
    """Raise unless `clamp` matches the tokens and holds ids or -1."""
    if clamp is None:
        return
    if clamp.shape != xt.shape:
        raise ValueError(f"Expected `clamp` of shape {tuple(xt.shape)} like the tokens, got {tuple(clamp.shape)}.")
    if bool((clamp < -1).any()):
        raise ValueError(f"Expected token ids or -1 (free) in `clamp`, got {int(clamp.min())}.")


def hold(x: Int[Tensor, "b l"], clamp: Int[Tensor, "b l"] | None) -> Int[Tensor, "b l"]:
    """Put the given tokens in their places; -1 leaves a place as it is."""
    return x if clamp is None else x.where(clamp < 0, clamp)
