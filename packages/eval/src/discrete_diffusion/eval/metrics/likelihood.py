"""Negative log-likelihood of a corpus, accumulated batch by batch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Likelihood:
    r"""Negative log-likelihood of independent sequences, with its Monte-Carlo standard error.

        nats per sequence = Σ_i nll_i / n,    bits per token = Σ_i nll_i / (Σ_i tokens_i · ln 2),
        perplexity = exp(Σ_i nll_i / Σ_i tokens_i)

    The standard error of the mean is s / √n with s² = Σ_i (nll_i - mean)² / (n - 1). Standard errors of the ratios
    follow by the delta method, which for sequences of equal length is division by that length. The unit of sampling is
    a sequence: its tokens are not independent, and the draw of its noise level is part of its error.

    `Likelihood.of_batch` reads a batch, `+` merges two corpora, and `Likelihood()` is the empty corpus. A quantity that
    is undefined (no sequences, no tokens, a standard error of one sequence) is None, never NaN.

    Args:
        sequences: Number of sequences.
        tokens: Number of tokens.
        nats: Sum of the negative log-likelihoods, in nats.
        part_nats: Sums of the named terms of the bound (prior, diffusion, reconstruction, ...), in nats.
        spread: Sums over sequences of squared deviations from the mean: of nats, nats x tokens, and tokens.
    """

    sequences: int = 0
    tokens: int = 0
    nats: float = 0.0
    part_nats: Mapping[str, float] = field(default_factory=dict)
    spread: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def of_batch(
        cls,
        nats: npt.ArrayLike,
        tokens: npt.ArrayLike | None = None,
        parts: Mapping[str, npt.ArrayLike] | None = None,
    ) -> "Likelihood":
        """Return the likelihood of one batch.

        Args:
            nats: Negative log-likelihoods in nats, per sequence (b,) or per token (b, l).
            tokens: For (b,): number of tokens of each sequence, (b,) or one integer. For (b, l): None to count every
                position, or a boolean mask (b, l) of the positions to count.
            parts: Terms of the bound by name, each of the shape of `nats`. They need not add up to it.

        Raises:
            ValueError: If a shape does not fit, `tokens` is missing or negative, or a mask is not boolean.
        """
        values = np.asarray(nats, dtype=np.float64)
        if values.ndim not in (1, 2):
            raise ValueError(f"Expected `nats` of shape (b,) or (b, l), got {values.shape}.")
        weights = np.ones(values.shape, dtype=bool)
        if values.ndim == 1:
            if tokens is None:
                raise ValueError("Expected `tokens`, the number of tokens of each sequence, with `nats` of shape (b,).")
            counts = np.asarray(tokens)
            if counts.dtype.kind not in "iu" or counts.shape not in ((), values.shape) or (counts < 0).any():
                raise ValueError(f"Expected `tokens` to be one integer >= 0 or {values.shape} of them, got {tokens!r}.")
            lengths = np.broadcast_to(counts, values.shape).astype(np.int64)
        else:
            if tokens is not None:
                weights = np.asarray(tokens)
                if weights.dtype != np.bool_ or weights.shape != values.shape:
                    raise ValueError(
                        f"Expected `tokens` to be a boolean mask of shape {values.shape}, "
                        f"got {weights.dtype} of shape {weights.shape}."
                    )
            lengths = weights.sum(axis=1)

        def per_sequence(term: np.ndarray) -> np.ndarray:
            return np.where(weights, term, 0.0).reshape(len(term), -1).sum(axis=1) if len(term) else term.reshape(0)

        sums = {}
        for name, part in (parts or {}).items():
            term = np.asarray(part, dtype=np.float64)
            if term.shape != values.shape:
                raise ValueError(f"Expected part {name!r} of shape {values.shape}, got {term.shape}.")
            sums[name] = float(per_sequence(term).sum())
        totals = per_sequence(values)
        if len(totals) == 0:
            return cls()
        # A likelihood can be infinite. The deviation from its mean is then undefined and reported as None.
        with np.errstate(invalid="ignore"):
            a, b = totals - totals.mean(), lengths - lengths.mean()
            spread = (float(a @ a), float(a @ b), float(b @ b))
        return cls(len(totals), int(lengths.sum()), float(totals.sum()), sums, spread)

    def __add__(self, other: "Likelihood") -> "Likelihood":
        """Merge two corpora, by the pairwise update of Chan, Golub and LeVeque (1979).

        Raises:
            ValueError: If the corpora have different parts.
        """
        if not self.sequences or not other.sequences:
            return self if self.sequences else other
        if self.part_nats.keys() != other.part_nats.keys():
            raise ValueError(
                f"Expected the same parts in both, got {list(self.part_nats)} and {list(other.part_nats)}."
            )
        n = self.sequences + other.sequences
        weight = self.sequences * other.sequences / n
        a = other.nats / other.sequences - self.nats / self.sequences
        b = other.tokens / other.sequences - self.tokens / self.sequences
        between = (weight * a * a, weight * a * b, weight * b * b)
        first, second, third = (x + y + z for x, y, z in zip(self.spread, other.spread, between, strict=True))
        parts = {name: total + other.part_nats[name] for name, total in self.part_nats.items()}
        return Likelihood(n, self.tokens + other.tokens, self.nats + other.nats, parts, (first, second, third))

    @property
    def nats_per_sequence(self) -> float | None:
        """Mean over sequences, in nats."""
        return self.nats / self.sequences if self.sequences else None

    @property
    def nats_per_sequence_error(self) -> float | None:
        """Standard error of `nats_per_sequence`, in nats; None below two sequences."""
        return self._error(0.0)

    @property
    def bits_per_token(self) -> float | None:
        """Mean over tokens, in bits."""
        return self.nats / self.tokens / math.log(2) if self.tokens else None

    @property
    def bits_per_token_error(self) -> float | None:
        """Standard error of `bits_per_token`, in bits; None below two sequences."""
        error = self._ratio_error()
        return None if error is None else error / math.log(2)

    @property
    def perplexity(self) -> float | None:
        """Exponential of the mean nats per token; infinite where that overflows."""
        if not self.tokens:
            return None
        exponent = self.nats / self.tokens
        return math.inf if exponent > 700.0 else math.exp(exponent)

    @property
    def perplexity_error(self) -> float | None:
        """Standard error of `perplexity`; None below two sequences."""
        perplexity, error = self.perplexity, self._ratio_error()
        return None if perplexity is None or error is None or math.isinf(perplexity) else perplexity * error

    @property
    def parts(self) -> dict[str, float]:
        """Terms of the bound by name, in nats per sequence."""
        return {name: total / self.sequences for name, total in self.part_nats.items()}

    def row(self) -> dict[str, float | int | None]:
        """Return all numbers as a flat table row, with part `x` in column `x_nats_per_sequence`."""
        return {
            "sequences": self.sequences,
            "tokens": self.tokens,
            "nats_per_sequence": self.nats_per_sequence,
            "nats_per_sequence_error": self.nats_per_sequence_error,
            "bits_per_token": self.bits_per_token,
            "bits_per_token_error": self.bits_per_token_error,
            "perplexity": self.perplexity,
            "perplexity_error": self.perplexity_error,
        } | {f"{name}_nats_per_sequence": value for name, value in self.parts.items()}

    def _error(self, ratio: float) -> float | None:
        """Return the standard error of the mean of nats - ratio · tokens."""
        if self.sequences < 2:
            return None
        aa, ab, bb = self.spread
        variance = (aa - 2.0 * ratio * ab + ratio * ratio * bb) / (self.sequences - 1)
        return math.sqrt(max(variance, 0.0) / self.sequences) if math.isfinite(variance) else None

    def _ratio_error(self) -> float | None:
        if not self.tokens:
            return None
        error = self._error(self.nats / self.tokens)
        return None if error is None else error / (self.tokens / self.sequences)
