"""Sources of random numbers: PyTorch's generators, and one stream for each sample."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_WORD = 2**32
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


@dataclass(eq=False)
class _Position:
    """Number of draws made so far, shared by all views of the same streams."""

    draws: int = 0


# A tensor has no equality that is a single truth value.
@dataclass(frozen=True, eq=False)
class SampleStreams:
    """Random numbers of independent samples, each a function of the seed and of the sample's index alone.

    Every sampler of this package takes it as its `generator`. A sample then depends neither on the batch it is drawn in
    nor on the device: the first 10 samples of 1,000 are those of a run of 10, and any share of the samples can be drawn
    alone. What remains is the rounding of the network, which may depend on the shape of a batch.

    The numbers come from the counter-based generator Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as
    easy as 1, 2, 3"), with the seed as its key and (block, draw, sample, part) as its counter.

    Args:
        seed: Seed of all samples, in [0, 2^64).
        index: Index of each sample, in [0, 2^32).
        part: Index of each row among the rows of its sample, in [0, 2^32); None for one row a sample.

    Raises:
        ValueError: If the seed or an index is out of range.
    """

    seed: int
    index: Int[Tensor, " b"]
    part: Int[Tensor, " b"] | None = None
    _position: _Position = field(default_factory=_Position, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < _WORD**2:
            raise ValueError(f"Expected 0 <= `seed` < 2^64, got {self.seed}.")
        if self.index.ndim != 1 or not bool(((self.index >= 0) & (self.index < _WORD)).all()):
            raise ValueError(f"Expected a line of numbers in [0, 2^32) in `index`, got {self.index.tolist()}.")

    def uniform(self, shape: Sequence[int]) -> Float[Tensor, "b ..."]:
        """Draw numbers in [0, 1) with 53 bits, in float64 on the CPU; the first axis is that of the samples.

        Raises:
            ValueError: If `shape` has another number of rows.
        """
        rows, *rest = shape
        if rows != len(self.index):
            raise ValueError(f"Expected {len(self.index)} rows, one for each sample, got {rows}.")
        count = int(torch.Size(rest).numel())
        blocks = torch.arange((count + 1) // 2)
        index = self.index.cpu().long()
        part = torch.zeros_like(index) if self.part is None else self.part.cpu().long()
        counter = (
            blocks.expand(rows, -1),
            torch.full((rows, len(blocks)), self._position.draws),
            index[:, None].expand(-1, len(blocks)),
            part[:, None].expand(-1, len(blocks)),
        )
        self._position.draws += 1
        a, b, c, d = philox(counter, (self.seed % _WORD, self.seed // _WORD))
        # The upper 27 bits of one word and the upper 26 of the next, as NumPy builds its doubles.
        first = ((a >> 5) * 2**26 + (b >> 6)).double()
        second = ((c >> 5) * 2**26 + (d >> 6)).double()
        return (torch.stack([first, second], -1).flatten(1)[:, :count] / 2**53).reshape(shape)

    def repeated(self, count: int) -> "SampleStreams":
        """Return streams of `count` rows for each row here, each with its own numbers."""
        part = torch.zeros_like(self.index) if self.part is None else self.part
        own = torch.arange(count, device=part.device).repeat(len(part))
        return replace(
            self,
            index=self.index.repeat_interleave(count),
            part=part.repeat_interleave(count) * count + own,
        )

    def selected(self, rows: Bool[Tensor, " b"]) -> "SampleStreams":
        """Return the streams of the selected rows; a draw from either advances both."""
        rows = rows.to(self.index.device)
        return replace(self, index=self.index[rows], part=None if self.part is None else self.part[rows])

    def apart(self) -> "SampleStreams":
        """Return streams whose numbers do not depend on how many have been drawn here, for draws after a random loop.

        A second call returns the same numbers again.
        """
        return replace(self, _position=_Position(_WORD // 2))


RandomSource: TypeAlias = torch.Generator | SampleStreams | None
"""Source of random numbers of a sampler: PyTorch's generator (its default one if None), or a stream for each sample."""


def draw_uniform(shape: Sequence[int], source: RandomSource, device: torch.device) -> Float[Tensor, "..."]:
    """Draw uniform numbers in [0, 1), in float64.

    A generator draws on its own device, so one on the CPU gives the same numbers for every device.

    Raises:
        ValueError: If the numbers would be on a device without float64, or streams have other rows.
    """
    if isinstance(source, SampleStreams):
        return source.uniform(shape).to(device)
    home = device if source is None else source.device
    if home.type == "mps":
        raise ValueError("Expected a `generator` on a device that has float64, got mps: pass torch.Generator().")
    return torch.rand(tuple(shape), dtype=torch.float64, generator=source, device=home).to(device)


def repeated(source: RandomSource, count: int) -> RandomSource:
    """Return a source for `count` rows of each sample."""
    return source.repeated(count) if isinstance(source, SampleStreams) else source


def selected_rows(source: RandomSource, rows: Bool[Tensor, " b"]) -> RandomSource:
    """Return a source for the selected rows of a batch."""
    return source.selected(rows) if isinstance(source, SampleStreams) else source


def apart(source: RandomSource) -> RandomSource:
    """Return a source for draws that follow a loop of random length; see `SampleStreams.apart`."""
    return source.apart() if isinstance(source, SampleStreams) else source


def philox(
    counter: tuple[Int[Tensor, "*n"], Int[Tensor, "*n"], Int[Tensor, "*n"], Int[Tensor, "*n"]], key: tuple[int, int]
) -> tuple[Int[Tensor, "*n"], Int[Tensor, "*n"], Int[Tensor, "*n"], Int[Tensor, "*n"]]:
    """Return the four 32-bit words of Philox4x32-10 for each counter, in int64.

    Args:
        counter: Four words in [0, 2^32), int64.
        key: Two words in [0, 2^32).
    """
    a, b, c, d = counter
    low, high = key
    for _ in range(_ROUNDS):
        # The product of two words wraps around in int64 and keeps all of its 64 bits.
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (
            _upper(second) ^ b ^ low,
            second & (_WORD - 1),
            _upper(first) ^ d ^ high,
            first & (_WORD - 1),
        )
        low, high = (low + _WEYL[0]) % _WORD, (high + _WEYL[1]) % _WORD
    return a, b, c, d


def _upper(product: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    # The shift of a negative number fills with ones.
    return (product >> 32) & (_WORD - 1)
