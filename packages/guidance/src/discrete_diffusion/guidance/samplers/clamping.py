"""Clamped tokens: held in place while the rest is generated."""

from jaxtyping import Int
from torch import Tensor


def check_clamp(clamp: Int[Tensor, "b l"] | None, xt: Int[Tensor, "b l"]) -> None:
    """Raise unless `clamp` has the shape of the tokens and holds token ids or -1.

    Raises:
        ValueError: If it does not.
    """
    if clamp is None:
        return
    if clamp.shape != xt.shape:
        raise ValueError(f"Expected `clamp` of shape {tuple(xt.shape)} like the tokens, got {tuple(clamp.shape)}.")
    if bool((clamp < -1).any()):
        raise ValueError(f"Expected token ids or -1 (free) in `clamp`, got {int(clamp.min())}.")


def hold(x: Int[Tensor, "b l"], clamp: Int[Tensor, "b l"] | None) -> Int[Tensor, "b l"]:
    """Return `x` with the clamped tokens in their places; positions with -1 keep the tokens of `x`."""
    return x if clamp is None else x.where(clamp < 0, clamp)
