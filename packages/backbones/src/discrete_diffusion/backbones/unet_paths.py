"""Down path and up path of a UNet, and validation of their sizes."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from discrete_diffusion.backbones.unet_layers import Downsample, ResidualBlock, Stage, Upsample


class DownPath(nn.Module):
    """Down path of a UNet: `num_res_blocks` stages at each resolution, and middle blocks with attention.

    The arguments are those of :class:`UNet`; `planes` is the number of input planes.
    """

    def __init__(
        self,
        planes: int,
        height: int,
        hidden_channels: int,
        multipliers: Sequence[int],
        num_res_blocks: int,
        attention_resolutions: Sequence[int],
        num_heads: int,
        cond_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(planes, hidden_channels, 3, padding=1)
        self.steps = nn.ModuleList()
        self.widths = [hidden_channels]
        """Number of channels of every returned map."""
        for depth, multiplier in enumerate(multipliers):
            if depth > 0:
                self.steps.append(Downsample(self.widths[-1]))
                self.widths.append(self.widths[-1])
            attend = height >> depth in attention_resolutions
            for _ in range(num_res_blocks):
                width = hidden_channels * multiplier
                self.steps.append(Stage(self.widths[-1], width, cond_size, dropout, num_heads, attend))
                self.widths.append(width)
        self.middle1 = Stage(self.widths[-1], self.widths[-1], cond_size, dropout, num_heads, attend=True)
        self.middle2 = ResidualBlock(self.widths[-1], self.widths[-1], cond_size, dropout)

    def forward(
        self, planes: Float[Tensor, "b p h w"], condition: Float[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b _ _ _"], list[Float[Tensor, "b _ _ _"]]]:
        """Return the smallest map and the maps before it."""
        maps = [self.conv_in(planes)]
        for step in self.steps:
            maps.append(step(maps[-1], condition))
        return self.middle2(self.middle1(maps[-1], condition), condition), maps


class UpPath(nn.Module):
    """Up path of a UNet: each stage also reads a map of the down path.

    The arguments are those of :class:`UNet`; `widths` are the numbers of channels of those maps.
    """

    def __init__(
        self,
        widths: Sequence[int],
        height: int,
        hidden_channels: int,
        multipliers: Sequence[int],
        num_res_blocks: int,
        attention_resolutions: Sequence[int],
        num_heads: int,
        cond_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        skipped, width = list(widths), widths[-1]
        for depth, multiplier in reversed(list(enumerate(multipliers))):
            attend = height >> depth in attention_resolutions
            for _ in range(num_res_blocks + 1):
                out = hidden_channels * multiplier
                self.steps.append(Stage(width + skipped.pop(), out, cond_size, dropout, num_heads, attend))
                width = out
            if depth > 0:
                self.steps.append(Upsample(width))
        self.width = width

    def forward(
        self, x: Float[Tensor, "b _ _ _"], maps: Sequence[Float[Tensor, "b _ _ _"]], condition: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b _ _ _"]:
        """Return the last map, with `width` channels."""
        skipped = list(maps)
        for step in self.steps:
            x = step(x) if isinstance(step, Upsample) else step(torch.cat((x, skipped.pop()), 1), condition)
        return x


def check_unet_sizes(
    shape: tuple[int, int, int],
    hidden_channels: int,
    multipliers: Sequence[int],
    attention_resolutions: Sequence[int],
    num_heads: int,
    dropout: float,
    vocab_size: int,
    levels: int,
    **counts: int,
) -> None:
    """Check the sizes of a UNet.

    Raises:
        ValueError: If a size is invalid.
    """
    height, width, channels = shape
    named = {"height": height, "width": width, "channels": channels, "hidden_channels": hidden_channels}
    for name, size in {**named, "num_heads": num_heads, **counts}.items():
        if size < 1:
            raise ValueError(f"Expected `{name}` >= 1, got {size}.")
    if not multipliers or min(multipliers) < 1:
        raise ValueError(f"Expected `multipliers` of one or more numbers >= 1, got {list(multipliers)}.")
    for name, size in {"height": height, "width": width}.items():
        if size % (factor := 2 ** (len(multipliers) - 1)):
            raise ValueError(
                f"Expected `{name}` to be a multiple of {factor} for {len(multipliers)} `multipliers`, got {size}."
            )
    if hidden_channels % 4 or hidden_channels % num_heads:
        raise ValueError(
            f"Expected `hidden_channels` to be a multiple of 4 and of `num_heads` = {num_heads}, got {hidden_channels}."
        )
    heights = [height >> depth for depth in range(len(multipliers))]
    if unknown := [one for one in attention_resolutions if one not in heights]:
        raise ValueError(f"Expected `attention_resolutions` among the heights {heights} of the maps, got {unknown[0]}.")
    if not 2 <= levels <= vocab_size:
        raise ValueError(f"Expected 2 <= `levels` <= `vocab_size` = {vocab_size}, got {levels}.")
    if not 0 <= dropout < 1:
        raise ValueError(f"Expected 0 <= `dropout` < 1, got {dropout}.")
