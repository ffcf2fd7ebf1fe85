"""UNet for images with discrete pixels."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from discrete_diffusion.backbones.layers import Condition, SigmaEmbedding, condition_map
from discrete_diffusion.backbones.truncated_logistic import truncated_logistic
from discrete_diffusion.backbones.unet_layers import group_norm, pixel_planes, zero_conv
from discrete_diffusion.backbones.unet_paths import DownPath, UpPath, check_unet_sizes

PixelLaw = Literal["categorical", "truncated_logistic"]
"""Output distribution of a pixel: a logit per token, or mean and scale of a logistic over its levels."""


class UNet(nn.Module):
    """UNet for images whose pixels are tokens, from token ids, noise level and label to logits.

    The network of D3PM (arXiv 2107.03006) and Campbell et al. (arXiv 2205.14987), which arXiv 2412.10193 trains on
    CIFAR10. Tokens have the order (height, width, channel). Tokens below `levels` are read as values in [-1, 1], the
    others as categories (see :func:`pixel_planes`). Every residual block adds a linear function of the condition

        c = SiLU(sigma_map(sigma)) + SiLU(cond_map(y)).

    With the output ``categorical``, the last layer returns a logit per token and starts at zero, so a new network
    returns logits of zero. With ``truncated_logistic``, it returns two numbers a and b per pixel and channel, and the
    logits of the levels are the log-probabilities of :func:`truncated_logistic` for mean = tanh(value of x_t + a) and
    log_scale = b, so that neighboring levels have similar probabilities. Each special token has a learned logit minus
    log(levels), so that initially it is as likely as an average level. These logits are finite: images contain no
    special tokens, but logits of -inf would make gradients nan where the noise also has probability zero.

    Args:
        vocab_size: Size of the vocabulary, special tokens included.
        height: Height of the images, halved for each multiplier after the first.
        width: Width of the images, halved likewise.
        channels: Channels of the images, 3 for color images.
        hidden_channels: Channels of the feature maps at full resolution, a multiple of 4 and of `num_heads`.
        multipliers: Channels at each resolution, in multiples of `hidden_channels`.
        num_res_blocks: Residual blocks at each resolution of the down path; the up path has one more.
        attention_resolutions: Heights of the feature maps with attention. The smallest map always has attention.
        num_heads: Number of attention heads.
        cond_size: Width of the condition.
        dropout: Probability of dropping an element of a branch, in [0, 1).
        num_classes: Number of labels. The null label, "no condition", is index ``num_classes``; None has no labels.
        time_conditioning: If false, the network reads sigma = 0 whatever ``sigma`` is.
        levels: Number of pixel levels, the first tokens of the vocabulary; None means all tokens.
        output: ``categorical`` or ``truncated_logistic``.
        num_values: Number of numbers that condition a sequence, instead of labels; None has none.

    Raises:
        ValueError: If a size or `output` is invalid.
    """

    def __init__(
        self,
        vocab_size: int,
        height: int,
        width: int,
        channels: int,
        hidden_channels: int = 128,
        multipliers: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (16,),
        num_heads: int = 1,
        cond_size: int = 512,
        dropout: float = 0.1,
        num_classes: int | None = None,
        time_conditioning: bool = True,
        levels: int | None = None,
        output: PixelLaw = "categorical",
        num_values: int | None = None,
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
        )
        if output not in get_args(PixelLaw):
            raise ValueError(f"Expected `output` in {', '.join(get_args(PixelLaw))}, got {output}.")
        self.vocab_size = vocab_size
        self.num_classes = num_classes
        self.num_values = num_values
        self.causal = False
        self.time_conditioning = time_conditioning
        self.output = output
        special = vocab_size - self.levels
        sizes = (height, hidden_channels, multipliers, num_res_blocks, attention_resolutions, num_heads, cond_size)
        self.sigma_map = SigmaEmbedding(cond_size)
        self.cond_map = condition_map(num_classes, num_values, cond_size)
        self.down = DownPath(channels * (1 + special), *sizes, dropout)
        self.up = UpPath(self.down.widths, *sizes, dropout)
        self.norm_final = group_norm(self.up.width)
        numbers = vocab_size if output == "categorical" else 2 + special
        self.conv_final = zero_conv(self.up.width, channels * numbers, 3)

    def forward(
        self,
        xt: Int[Tensor, "b l"] | Float[Tensor, "b l v"],
        sigma: Float[Tensor, " b"],
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "b l v"] | Float[Tensor, "n v"]:
        """Return logits of p(x_0 | x_t, y), equal to ``decode(encode(xt, sigma, y), sigma, y, at)``.

        Args:
            xt: Token ids in [0, ``vocab_size``), height * width * channels per image, or one-hot encodings.
            sigma: Noise level -log alpha(t) >= 0 of each sequence.
            y: Labels in [0, ``num_classes``], or ``num_values`` numbers in standard units, NaN where one is missing.
                None is the null label ``num_classes``, or all numbers missing.
            at: If given, return only the logits of the positions where it is true, in row-major order.

        Raises:
            ValueError: If the sequences have another length, or `y` is given for a network without labels.
            IndexError: If a token or label is out of range, on the CPU. On CUDA it is a device-side assertion.
        """
        return self.decode(self.encode(xt, sigma, y), sigma, y, at)

    def encode(
        self,
        xt: Int[Tensor, "b l"] | Float[Tensor, "b l v"],
        sigma: Float[Tensor, " b"],
        y: Condition | None = None,
    ) -> Float[Tensor, "b l d"]:
        """Return the last feature map for every token; arguments and errors as in :meth:`forward`.

        The channels of a pixel share its features. For ``truncated_logistic``, a last feature is the value of x_t,
        relative to which the mean is predicted.
        """
        self._refuse_label(y)
        condition = F.silu(self.sigma_map(sigma if self.time_conditioning else torch.zeros_like(sigma)))
        if self.cond_map is not None:
            condition = condition + F.silu(self.cond_map(y))
        planes = pixel_planes(xt, self.shape, self.vocab_size, self.levels, self.down.conv_in.weight.dtype)
        features = self.up(*self.down(planes, condition), condition).permute(0, 2, 3, 1)
        hidden = features.unsqueeze(3).expand(-1, -1, -1, self.shape[2], -1).flatten(1, 3)
        if self.output == "categorical":
            return hidden
        values = planes[:, : self.shape[2]].permute(0, 2, 3, 1).flatten(1)
        return torch.cat((hidden, values.unsqueeze(-1)), -1)

    def decode(
        self,
        hidden: Float[Tensor, "b l d"],
        sigma: Float[Tensor, " b"],
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "b l v"] | Float[Tensor, "n v"]:
        """Return the logits of the hidden states from :meth:`encode`; arguments and errors as in :meth:`forward`.

        It uses the mean of the features over a pixel's channels. The noise level is ignored.
        """
        self._refuse_label(y)
        features = hidden[..., : self.up.width].unflatten(1, self.shape).mean(3).permute(0, 3, 1, 2)
        numbers = self.conv_final(F.silu(self.norm_final(features)))
        numbers = numbers.unflatten(1, (self.shape[2], -1)).permute(0, 3, 4, 1, 2).flatten(1, 3)
        numbers = numbers if at is None else numbers[at]
        if self.output == "categorical":
            return numbers
        value = hidden[..., -1] if at is None else hidden[at][..., -1]
        log_probs = truncated_logistic(torch.tanh(value + numbers[..., 0]), numbers[..., 1], self.levels)
        return torch.cat((log_probs, numbers[..., 2:] - math.log(self.levels)), -1)

    def _refuse_label(self, y: Tensor | None) -> None:
        if y is not None and self.cond_map is None:
            raise ValueError("Expected `y` to be None for a network without labels: build it with `num_classes`.")
