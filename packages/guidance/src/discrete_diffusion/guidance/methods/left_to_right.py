"""Guidance of left-to-right models, one position at a time."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def each_position(
    at: Bool[Tensor, "b l"], predict: Callable[[int, Int[Tensor, " m"], Int[Tensor, " m"]], Float[Tensor, "m v"]]
) -> Float[Tensor, "n v"]:
    """Return the predictions at the n true positions of `at` (at least one), in row-major order.

    Args:
        at: Positions to predict.
        predict: Called once for each position i that is true in any row, from left to right, as
            `predict(i, rows, order)`: the rows in which it is true, and the index of each among the n.
    """
    row, position = at.nonzero(as_tuple=True)
    orders = [(position == i).nonzero()[:, 0] for i in position.unique().tolist()]
    predictions = [predict(int(position[order[0]]), row[order], order) for order in orders]
    return predictions[0] if len(predictions) == 1 else torch.cat(predictions)[torch.cat(orders).argsort()]


def remaining_share(drawn: int, length: int, t: Float[Tensor, " b"], rows: int) -> Float[Tensor, " m"]:
    """Return 1 - drawn / length, the share of positions still to draw, for `rows` rows, in the dtype of `t`."""
    return torch.full((rows,), 1 - drawn / length, dtype=t.dtype, device=t.device)
