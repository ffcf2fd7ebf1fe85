"""Left-to-right models, one column at a time."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def each_column(
    at: Bool[Tensor, "b l"], law: Callable[[int, Int[Tensor, " m"], Int[Tensor, " m"]], Float[Tensor, "m v"]]
) -> Float[Tensor, "n v"]:
    """Return the laws of the n positions where `at` is true (at least one), in row-major order.

    Args:
        at: the positions that are wanted.
        law: called once for each column i that has any, from left to right, as `law(i, rows, order)`: the rows in which
            it is wanted, and the place of each of them among the n.
    """
    row, column = at.nonzero(as_tuple=True)
    orders = [(column == i).nonzero()[:, 0] for i in column.unique().tolist()]
    laws = [law(int(column[order[0]]), row[order], order) for order in orders]
    return laws[0] if len(laws) == 1 else torch.cat(laws)[torch.cat(orders).argsort()]


def share_left(drawn: int, length: int, t: Float[Tensor, " b"], rows: int) -> Float[Tensor, " m"]:
    """Return 1 - drawn / length, the share of positions still to draw, for `rows` rows, of the dtype of `t`."""
    return torch.full((rows,), 1 - drawn / length, dtype=t.dtype, device=t.device)
