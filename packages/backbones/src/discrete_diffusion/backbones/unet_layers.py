"""Layers of the UNet and its classifier. Arrays are (batch, channels, height, width)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from discrete_diffusion.backbones.attention import sdpa_attention


def pixel_planes(
    x: Int[Tensor, "b l"] | Float[Tensor, "b l v"],
    shape: tuple[int, int, int],
    vocab_size: int,
    levels: int,
    dtype: torch.dtype,
) -> Float[Tensor, "b planes h w"]:
    """Convert an image of tokens to planes: pixel values of each channel, followed by one plane per special token.

    Level i of `levels` has the value 2 i / (levels - 1) - 1. Every other token is special: its value is zero, and its
    separate plane is one, so that the network can distinguish a mask from a gray pixel. All planes are linear in the
    one-hot encodings.

    Args:
        x: Tokens of the pixels in the order (height, width, channel), ids or mixtures of one-hot encodings.
        shape: Height, width and channels.
        vocab_size: Size of the vocabulary; its first `levels` tokens are the levels.
        levels: Number of levels of a pixel.
        dtype: Dtype of the planes.

    Raises:
        ValueError: If the sequences have another length.
    """
    if x.shape[1] != math.prod(shape):
        raise ValueError(
            f"Expected sequences of height * width * channels = {math.prod(shape)} tokens, got {x.shape[1]}."
        )
    values = torch.linspace(-1, 1, levels, device=x.device, dtype=dtype)
    table = torch.block_diag(values[:, None], torch.eye(vocab_size - levels, device=x.device, dtype=dtype))
    planes = x.to(dtype) @ table if x.is_floating_point() else F.embedding(x, table)
    # (b, l, 1 + special) -> (b, (1 + special) * channels, h, w), values first
    return planes.unflatten(1, shape).permute(0, 4, 3, 1, 2).flatten(1, 2)


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a group normalization with at least four channels per group and at most 32 groups."""
    groups = next(groups for groups in range(min(channels // 4, 32), 0, -1) if channels % groups == 0)
    return nn.GroupNorm(groups, channels, eps=1e-6)


def zero_conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    """Return a convolution that keeps height and width, initialized to zero."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding="same")
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


class ResidualBlock(nn.Module):
    """Residual block (x + conv(norm(conv(norm(x)) + linear(condition)))) / sqrt(2), with SiLU after each norm."""

    def __init__(self, in_channels: int, out_channels: int, cond_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm1 = group_norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.cond_linear = nn.Linear(cond_size, out_channels)
        self.norm2 = group_norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Float[Tensor, "b i h w"], condition: Float[Tensor, "b c"]) -> Float[Tensor, "b o h w"]:
        """Return the feature map after the block."""
        branch = self.conv1(F.silu(self.norm1(x)))
        branch = F.silu(self.norm2(branch + self.cond_linear(condition)[:, :, None, None]))
        branch = self.conv2(F.dropout(branch, self.dropout, self.training))
        return (self.shortcut(x) + branch) / math.sqrt(2)


class AttentionBlock(nn.Module):
    """Attention block (x + attention over all pixels of norm(x)) / sqrt(2); the attention starts at zero."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero_conv(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        """Return the feature map after the block."""
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.num_heads, -1))
        q, k, v = qkv.permute(1, 0, 4, 2, 3)  # (b, pixels, heads, head size) each
        attended = sdpa_attention(q, k, v, causal=False).flatten(2).transpose(1, 2)
        return (x + self.out(attended.unflatten(2, x.shape[2:]))) / math.sqrt(2)


class Stage(nn.Module):
    """Residual block, followed by an attention block if `attend` is true."""

    def __init__(
        self, in_channels: int, out_channels: int, cond_size: int, dropout: float, num_heads: int, attend: bool
    ) -> None:
        super().__init__()
        self.residual = ResidualBlock(in_channels, out_channels, cond_size, dropout)
        self.attention = AttentionBlock(out_channels, num_heads) if attend else nn.Identity()

    def forward(self, x: Float[Tensor, "b i h w"], condition: Float[Tensor, "b c"]) -> Float[Tensor, "b o h w"]:
        """Return the feature map after the stage."""
        return self.attention(self.residual(x, condition))


class Downsample(nn.Module):
    """Convolution with stride two, which halves height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Float[Tensor, "b k h w"], condition: Float[Tensor, "b c"]) -> Float[Tensor, "b k h//2 w//2"]:
        """Return the smaller map; the condition is ignored."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest-neighbor upsampling by two, followed by a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k 2*h 2*w"]:
        """Return the larger map."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
