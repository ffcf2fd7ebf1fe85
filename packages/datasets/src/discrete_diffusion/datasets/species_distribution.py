"""Species whose distribution is known exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LETTERS = "ACGT"
_CODE = np.full(256, -1)
_CODE[[ord(letter) for letter in LETTERS]] = range(4)


@dataclass(frozen=True, eq=False)
class SyntheticSpecies:
    """Species, each a stationary Markov chain of order m over DNA.

        p(x | s) = π_s(x_1 ... x_m) Π_{i > m} T_s(x_i | x_{i-m} ... x_{i-1})

    π_s is the stationary distribution of the m-mers under T_s. The probabilities of every k-mer and of every sequence
    under each species are known, and with them the best possible classifier.

    Attributes:
        transition: T, (species, 4^m, 4), float64: distribution of the next letter after each m-mer, the m-mers in
            lexicographic order of their letters A, C, G, T.

    Raises:
        ValueError: If `transition` has another shape, or is not a positive distribution.
    """

    transition: np.ndarray

    def __post_init__(self) -> None:
        shape = self.transition.shape
        if len(shape) != 3 or shape[2] != 4 or shape[1] not in {4**m for m in range(7)}:
            raise ValueError(f"Expected `transition` of the shape (species, 4^order, 4), order <= 6, got {shape}.")
        if not ((self.transition > 0).all() and np.allclose(self.transition.sum(-1), 1.0)):
            raise ValueError("Expected positive `transition` probabilities that sum to 1.")

    @classmethod
    def drawn(cls, species: int, order: int, divergence: float, seed: int) -> "SyntheticSpecies":
        """Draw species that descend from one ancestor.

        The logits of the ancestor's transitions are standard normal, halved; each species adds `divergence` times
        standard normal ones of its own, a set for each m-mer and one for all, which moves its GC content. Then both
        strands are made alike, as they are in genomes (Chargaff's second rule): the distribution of
        (order + 1)-mers is averaged with that of their reverse complements, which again belongs to a chain of this
        order. The reverse complement of a sequence is therefore as likely as the sequence itself.
        """
        rng = np.random.default_rng([seed, 0])
        ancestor = 0.5 * rng.standard_normal((4**order, 4))
        own = rng.standard_normal((species, 1, 4)) + rng.standard_normal((species, 4**order, 4))
        odds = np.exp(ancestor + divergence * own)
        one = cls(odds / odds.sum(-1, keepdims=True))
        distributions = np.stack([one.kmer_distribution(s, order + 1) for s in range(species)])
        both = (distributions + distributions[:, _reverse_complements(order + 1)]).reshape(species, -1, 4)
        return cls(both / both.sum(-1, keepdims=True))

    @property
    def order(self) -> int:
        """Number of letters that the next letter depends on."""
        return round(np.log2(self.transition.shape[1]) / 2)

    @property
    def names(self) -> tuple[str, ...]:
        """`species_0` and so on."""
        width = len(str(len(self.transition) - 1))
        return tuple(f"species_{s:0{width}}" for s in range(len(self.transition)))

    def kmer_distribution(self, species: int, k: int) -> np.ndarray:
        """Return the probability of each k-mer at any position, (4^k,), in lexicographic order.

        Raises:
            ValueError: If `k` < 1.
        """
        if k < 1:
            raise ValueError(f"Expected `k` >= 1, got {k}.")
        transition = self.transition[species]
        distribution = _stationary(transition)
        for _ in range(self.order, k):
            distribution = (distribution.reshape(-1, len(transition))[..., None] * transition).ravel()
        return distribution.reshape(4**k, -1).sum(-1)

    def log_likelihood(self, sequence: str, species: int) -> float:
        """Return log p(sequence | species), in nats.

        Raises:
            ValueError: If the sequence has other letters than A, C, G and T.
        """
        return float(self.log_likelihoods([sequence])[0, species])

    def log_likelihoods(self, sequences: Sequence[str]) -> np.ndarray:
        """Return log p(x_i | s) of each sequence and species, (n, species), in nats.

        Raises:
            ValueError: If a sequence has other letters than A, C, G and T.
        """
        order, log_transition = self.order, np.log(self.transition)
        species = range(len(self.transition))
        starts = {m: np.log([self.kmer_distribution(s, m) for s in species]) for m in range(1, order + 1)}
        log_probs = np.zeros((len(sequences), len(self.transition)))
        for i, sequence in enumerate(sequences):
            codes = _codes(sequence)
            begun = min(order, len(codes))
            if begun:
                log_probs[i] += starts[begun][:, _indices(codes[:begun], begun)[0]]
            if len(codes) > order:
                context = _indices(codes[:-1], order)
                log_probs[i] += log_transition[:, context, codes[order:]].sum(1)
        return log_probs

    def posterior(self, sequences: Sequence[str]) -> np.ndarray:
        """Return p(s | x_i) for equally likely species, (n, species), the best possible classifier."""
        log_probs = self.log_likelihoods(sequences)
        odds = np.exp(log_probs - log_probs.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    def sample(self, size: int, length: int, seed: int) -> tuple[list[str], np.ndarray]:
        """Draw sequences, the species in turn, and return them with the species (size,) of each.

        They depend on `seed` alone, and the first n of more are these n.
        """
        species = np.arange(size) % len(self.transition)
        drawn = np.random.default_rng([seed, 1]).random((size, length))
        codes = np.zeros((size, length), dtype=np.int64)
        distributions = np.stack([_stationary(one) for one in self.transition])
        # The m-mer that a chain begins with is drawn as a whole, by the number that its first letter would be drawn by.
        begin = (distributions.cumsum(1)[species, :-1] < drawn[:, :1]).sum(1)
        for i in range(min(self.order, length)):
            codes[:, i] = begin // 4 ** (self.order - 1 - i) % 4
        context, bounds = begin, self.transition.cumsum(-1)[..., :-1]
        for i in range(self.order, length):
            codes[:, i] = (bounds[species, context] < drawn[:, i : i + 1]).sum(1)
            context = (context * 4 + codes[:, i]) % self.transition.shape[1]
        letters = np.frombuffer(LETTERS.encode(), dtype=np.uint8)[codes]
        return [row.tobytes().decode() for row in letters], species


def _stationary(transition: np.ndarray) -> np.ndarray:
    """Return π with π = π P, where P takes the m-mer a...b and the letter c to ...bc."""
    states = len(transition)
    if states == 1:
        return np.ones(1)
    chain = np.zeros((states, states))
    state = np.arange(states)
    for letter in range(4):
        chain[state, (4 * state + letter) % states] += transition[:, letter]
    # One of the equations follows from the others; that the probabilities sum to 1 takes its place.
    equations = chain.T - np.eye(states)
    equations[-1] = 1.0
    return np.linalg.solve(equations, np.eye(states)[-1])


def _codes(sequence: str) -> np.ndarray:
    codes = _CODE[np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)]
    if (codes < 0).any():
        raise ValueError(f"Expected the letters A, C, G and T, got {sequence[int((codes < 0).argmax())]!r}.")
    return codes


def _indices(codes: np.ndarray, k: int) -> np.ndarray:
    """Return the number of each k-mer, in lexicographic order."""
    index = np.zeros(len(codes) - k + 1, dtype=np.int64)
    for i in range(k):
        index = 4 * index + codes[i : i + len(index)]
    return index


def _reverse_complements(k: int) -> np.ndarray:
    index, other = np.arange(4**k), np.zeros(4**k, dtype=np.int64)
    for i in range(k):
        other += (3 - index // 4**i % 4) * 4 ** (k - 1 - i)
    return other
