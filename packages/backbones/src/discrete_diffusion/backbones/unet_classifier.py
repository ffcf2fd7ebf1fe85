"""Classifier of noisy images with the down path of the UNet."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from discrete_diffusion.backbones.layers import SigmaEmbedding, zero_linear
from discrete_diffusion.backbones.pooling import pool
from discrete_diffusion.backbones.unet_layers import group_norm, pixel_planes
from discrete_diffusion.backbones.unet_paths import DownPath, check_unet_sizes

ImagePooling = Literal["mean", "max"]
"""Reduction over the pixels of the smallest feature map."""


class UNetClassifier(nn.Module):
    """Classifier of noisy images: logits of classes, or mean and log standard deviation of a property.

    The down path and parameter names are those of :class:`UNet`. With the smallest feature map h,

        output = linear(pool over the pixels of SiLU(norm(h))).

    The linear layer starts at zero, so a new network returns zeros.

    Tokens are ids (b, l) or floats (b, l, v). One-hot encodings give the same outputs as their ids and carry gradients,
    as first-order guidance requires. The network reads the expected value and the weight of every special token, both
    linear in the one-hot encodings: between levels, its gradient is that of the value.

    Args:
        vocab_size: Size of the vocabulary, special tokens included.
        height: Height of the images, halved for each multiplier after the first.
        width: Width of the images, halved likewise.
        channels: Channels of the images, 3 for color images.
        num_outputs: Number of outputs: one per class, or two for a Gaussian.
        hidden_channels: Channels of the feature maps at full resolution, a multiple of 4 and of `num_heads`.
        multipliers: Channels at each resolution, in multiples of `hidden_channels`.
        num_res_blocks: Residual blocks at each resolution.
        attention_resolutions: Heights of the feature maps with attention. The smallest map always has attention.
        num_heads: Number of attention heads.
        cond_size: Width of the condition.
        dropout: Probability of dropping an element of a branch, in [0, 1).
        time_conditioning: If false, the network reads sigma = 0 whatever ``sigma`` is.
        levels: Number of pixel levels, the first tokens of the vocabulary; None means all tokens.
        pooling: ``mean`` or ``max``.

    Raises:
        ValueError: If a size or `pooling` is invalid.
    """

    def __init__(
        self,
        vocab_size: int,
        height: int,
        width: int,
        channels: int,
        num_outputs: int,
        hidden_channels: int = 128,
        multipliers: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (16,),
        num_heads: int = 1,
        cond_size: int = 512,
        dropout: float = 0.1,
        time_conditioning: bool = True,
        levels: int | None = None,
        pooling: ImagePooling = "mean",
    ) -> None:
        super().__init__()
        self.shape = (height, width, channels)
        self.levels = vocab_size if levels is None else levels
        check_unet_sizes(
            self.shape,
            hidden_channels,
            multipliers,
            attention_resolutions,
            num_heads,
            dropout,
            vocab_size,
            self.levels,
            num_res_blocks=num_res_blocks,
            cond_size=cond_size,
            num_outputs=num_outputs,
        )
        if pooling not in get_args(ImagePooling):
            raise ValueError(f"Expected `pooling` in {', '.join(get_args(ImagePooling))}, got {pooling}.")
        self.vocab_size = vocab_size
        self.num_outputs = num_outputs
        self.pooling = pooling
        self.time_conditioning = time_conditioning
        self.sigma_map = SigmaEmbedding(cond_size)
        self.down = DownPath(
            channels * (1 + vocab_size - self.levels),
            height,
            hidden_channels,
            multipliers,
            num_res_blocks,
            attention_resolutions,
            num_heads,
            cond_size,
            dropout,
        )
        self.norm_final = group_norm(self.down.widths[-1])
        self.linear = zero_linear(self.down.widths[-1], num_outputs)

    def forward(
        self, x: Int[Tensor, "b l"] | Float[Tensor, "b l v"], sigma: Float[Tensor, " b"]
    ) -> Float[Tensor, "b outputs"]:
        """Return the outputs for each image.

        Args:
            x: Token ids in [0, ``vocab_size``), height * width * channels per image, or one-hot encodings.
            sigma: Noise level -log alpha(t) >= 0 of each image.

        Raises:
            ValueError: If the sequences have another length.
        """
        condition = F.silu(self.sigma_map(sigma if self.time_conditioning else torch.zeros_like(sigma)))
        planes = pixel_planes(x, self.shape, self.vocab_size, self.levels, self.down.conv_in.weight.dtype)
        smallest, _ = self.down(planes, condition)
        features = F.silu(self.norm_final(smallest)).flatten(2).transpose(1, 2)
        return self.linear(pool(features, self.pooling))
