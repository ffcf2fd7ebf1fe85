"""Classifier of the hidden states of a generator."""

from jaxtyping import Float
from torch import Tensor, nn

from discrete_diffusion.backbones.layers import LayerNorm, zero_linear
from discrete_diffusion.backbones.pooling import POOLINGS, Pooling, pool, pool_prefixes


class HiddenClassifier(nn.Module):
    """Classifier of a generator's hidden states (b, l, d), as returned by `encode`.

        output = head(pool over the sequence of norm(hidden))

    The head is a linear layer or an MLP with one hidden layer. Its last layer starts at zero, so a new network returns
    zeros. The noise level is ignored, because the generator has read it; the argument keeps the signature uniform.

    Args:
        hidden_size: Width of the generator's residual stream.
        num_outputs: Number of outputs: one per class, or two for a Gaussian.
        pooling: ``mean``, ``max``, ``first`` or ``last``, over the sequence.
        mlp_size: Width of the MLP; None means a linear head.

    Raises:
        ValueError: If a size or `pooling` is invalid.
    """

    def __init__(
        self, hidden_size: int, num_outputs: int, pooling: Pooling = "mean", mlp_size: int | None = None
    ) -> None:
        super().__init__()
        for name, size in {
            "hidden_size": hidden_size,
            "num_outputs": num_outputs,
            "mlp_size": 1 if mlp_size is None else mlp_size,
        }.items():
            if size < 1:
                raise ValueError(f"Expected `{name}` >= 1, got {size}.")
        # Padding cannot be recognized from hidden states.
        known = [name for name in POOLINGS if name != "attention_mask"]
        if pooling not in known:
            raise ValueError(f"Expected `pooling` in {', '.join(known)}, got {pooling}.")
        self.num_outputs = num_outputs
        self.pooling = pooling
        self.norm = LayerNorm(hidden_size)
        if mlp_size is None:
            self.head: nn.Module = zero_linear(hidden_size, num_outputs)
        else:
            self.head = nn.Sequential(
                nn.Linear(hidden_size, mlp_size), nn.GELU(approximate="tanh"), zero_linear(mlp_size, num_outputs)
            )

    def forward(self, hidden: Float[Tensor, "b l d"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b outputs"]:
        """Return the outputs for each sequence."""
        return self.head(pool(self.norm(hidden), self.pooling))

    def prefixes(self, hidden: Float[Tensor, "b l d"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b l outputs"]:
        """Return ``forward(hidden[:, : i + 1], sigma)`` for every position i, in one pass."""
        return self.head(pool_prefixes(self.norm(hidden), self.pooling))
