"""Protein families whose distribution is known exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from discrete_diffusion.datasets.protein_tokenizer import AMINO_ACIDS

BACKGROUND = (8.3, 1.4, 5.5, 6.7, 3.9, 7.1, 2.3, 5.9, 5.8, 9.7, 2.4, 4.1, 4.7, 3.9, 5.5, 6.6, 5.3, 6.9, 1.1, 2.9)
"""Percentages of the amino acids in UniProtKB/Swiss-Prot, in the order of `AMINO_ACIDS`."""

_CODE = np.full(256, -1)
_CODE[[ord(letter) for letter in AMINO_ACIDS]] = range(20)


@dataclass(frozen=True, eq=False)
class SyntheticProteins:
    """Protein families, each a Markov chain of amino acids with its own distribution of lengths.

        p(x | f) = p(n | f) Π_{i=2}^{n} T_f(x_i | x_{i-1}),    x_1 = M,
        n - shortest ~ Binomial(longest - shortest, q_f)

    Every sequence begins with methionine. The likelihood of every sequence under each family is known, and with it the
    best possible classifier.

    Attributes:
        transition: T, (families, 20, 20), float64: distribution of the next amino acid after each.
        mean_extension: Q, (families,), float64, in (0, 1).
        shortest: Smallest number of amino acids.
        longest: Largest number of amino acids.

    Raises:
        ValueError: If an array has another shape or is not a probability, or the lengths are out of order.
    """

    transition: np.ndarray
    mean_extension: np.ndarray
    shortest: int
    longest: int

    def __post_init__(self) -> None:
        families = len(self.transition)
        if self.transition.shape != (families, 20, 20) or self.mean_extension.shape != (families,):
            raise ValueError(
                "Expected `transition` of the shape (families, 20, 20) and `mean_extension` of the shape (families,), "
                f"got {self.transition.shape} and {self.mean_extension.shape}."
            )
        if not ((self.transition > 0).all() and np.allclose(self.transition.sum(-1), 1.0)):
            raise ValueError("Expected positive `transition` probabilities that sum to 1.")
        if not ((self.mean_extension > 0).all() and (self.mean_extension < 1).all()):
            raise ValueError("Expected `mean_extension` between 0 and 1.")
        if not 1 <= self.shortest <= self.longest:
            raise ValueError(f"Expected 1 <= `shortest` <= `longest`, got {self.shortest} and {self.longest}.")

    @classmethod
    def drawn(cls, families: int, divergence: float, shortest: int, longest: int, seed: int) -> "SyntheticProteins":
        """Draw families that descend from one ancestor.

        The logits of the ancestor's transitions are those of the composition of Swiss-Prot plus standard normal ones,
        halved. Each family adds `divergence` times standard normal ones, a set for each amino acid and one for all. The
        values q_f are spread evenly from 1/4 to 3/4.
        """
        rng = np.random.default_rng([seed, 0])
        ancestor = np.log(BACKGROUND) + 0.5 * rng.standard_normal((20, 20))
        own = rng.standard_normal((families, 1, 20)) + rng.standard_normal((families, 20, 20))
        odds = np.exp(ancestor + divergence * own)
        extension = 0.25 + 0.5 * (np.arange(families) + 0.5) / families
        return cls(odds / odds.sum(-1, keepdims=True), extension, shortest, longest)

    @property
    def names(self) -> tuple[str, ...]:
        """`family_0` and so on."""
        width = len(str(len(self.transition) - 1))
        return tuple(f"family_{f:0{width}}" for f in range(len(self.transition)))

    def length_distribution(self, family: int) -> np.ndarray:
        """Return the probability of each length from `shortest` to `longest`, (longest - shortest + 1,)."""
        distribution, q = np.ones(1), self.mean_extension[family]
        for _ in range(self.longest - self.shortest):
            distribution = np.append(distribution * (1 - q), 0.0) + np.append(0.0, distribution * q)
        return distribution

    def log_likelihoods(self, sequences: Sequence[str]) -> np.ndarray:
        """Return log p(x_i | f) of each sequence and family, (n, families), in nats; -inf for impossible sequences."""
        with np.errstate(divide="ignore"):
            lengths = np.log([self.length_distribution(f) for f in range(len(self.transition))])
        log_transition = np.log(self.transition)
        values = np.full((len(sequences), len(self.transition)), -np.inf)
        for i, sequence in enumerate(sequences):
            codes = _CODE[np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)]
            if sequence[:1] == "M" and self.shortest <= len(codes) <= self.longest and (codes >= 0).all():
                values[i] = lengths[:, len(codes) - self.shortest] + log_transition[:, codes[:-1], codes[1:]].sum(1)
        return values

    def posterior(self, sequences: Sequence[str]) -> np.ndarray:
        """Return p(f | x_i) for equally likely families, (n, families); NaN for impossible sequences."""
        values = self.log_likelihoods(sequences)
        with np.errstate(invalid="ignore"):
            odds = np.exp(values - values.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    def sample(self, size: int, seed: int) -> tuple[list[str], np.ndarray]:
        """Draw sequences, the families in turn, and return them with the family (size,) of each.

        They depend on `seed` alone, and the first n of more are these n.
        """
        families = np.arange(size) % len(self.transition)
        drawn = np.random.default_rng([seed, 1]).random((size, self.longest))
        lengths = np.stack([self.length_distribution(f) for f in range(len(self.transition))]).cumsum(1)[families, :-1]
        counts = self.shortest + (lengths < drawn[:, :1]).sum(1)
        bounds = self.transition.cumsum(-1)[..., :-1]
        codes = np.full((size, self.longest), AMINO_ACIDS.index("M"))
        for i in range(1, self.longest):
            codes[:, i] = (bounds[families, codes[:, i - 1]] < drawn[:, i : i + 1]).sum(1)
        letters = np.frombuffer(AMINO_ACIDS.encode(), dtype=np.uint8)[codes]
        return [row[:count].tobytes().decode() for row, count in zip(letters, counts, strict=True)], families
