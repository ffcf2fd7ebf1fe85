"""Ehrlich functions: test functions of sequences in closed form, whose maximum is known to be 1."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import ArrayLike


class Ehrlich:
    """Ehrlich function of strings (Stanton et al., arXiv 2407.00236), without epistasis.

        f(x) = Π_i h(x, a_i, s_i)  if x is feasible, else 0
        h(x, a, s) = max_l floor(q · matches(x, a, s, l) / k) / q
        matches(x, a, s, l) = #{j : x[l + s_j] = a_j}

    for motifs a_i of k letters with spacings s_i, where l runs over the positions at which the spaced motif fits into
    x, and q is the quantization. A string is feasible if it has the given length, consists of letters of the alphabet,
    and no two neighbors in it are a banned transition. The paper sets f = -inf where x is not feasible; use `feasible`
    to tell such strings from feasible ones of value 0.

    The maximum is exactly 1: the constructor checks that a feasible string holds all motifs, and `optimum` returns it.

    Args:
        alphabet: Distinct letters.
        length: Length L of the strings.
        motifs: Strings of k >= 1 letters each.
        spacings: Offsets of the letters of each motif from its first letter: 0, then increasing.
        transitions: Matrix (v, v) over the letters of the alphabet; [i, j] > 0 if letter j may follow letter i. A
            transition matrix will do. If None, every transition is allowed.
        quantization: Number q of levels of h above 0, from 1 to k; k if None.

    Raises:
        ValueError: If an argument has another form, or the motifs do not fit in the given order, without overlap, into
            a feasible string.
    """

    def __init__(
        self,
        alphabet: str,
        length: int,
        motifs: Sequence[str],
        spacings: Sequence[Sequence[int]],
        transitions: ArrayLike | None = None,
        quantization: int | None = None,
    ) -> None:
        v = len(alphabet)
        if not alphabet or len(set(alphabet)) < v:
            raise ValueError(f"Expected an `alphabet` of distinct letters, got {alphabet!r}.")
        if not motifs or not motifs[0] or len({len(one) for one in motifs}) > 1:
            raise ValueError(f"Expected `motifs` of one length >= 1, got {list(motifs)}.")
        if not set().union(*motifs) <= set(alphabet):
            raise ValueError(f"Expected `motifs` of the letters {alphabet!r}, got {list(motifs)}.")
        k = len(motifs[0])
        for one in spacings:
            if len(one) != k or one[0] != 0 or min(np.diff(one), default=1) < 1:
                raise ValueError(f"Expected `spacings` of {k} increasing offsets from 0, got {list(one)}.")
        if len(spacings) != len(motifs):
            raise ValueError(f"Expected a spacing for each of {len(motifs)} `motifs`, got {len(spacings)}.")
        allowed = np.ones((v, v), dtype=bool) if transitions is None else np.asarray(transitions) > 0
        if allowed.shape != (v, v):
            raise ValueError(f"Expected `transitions` of shape ({v}, {v}), got {allowed.shape}.")
        levels = k if quantization is None else quantization
        if not 1 <= levels <= k:
            raise ValueError(f"Expected `quantization` from 1 to {k}, the length of a motif, got {levels}.")
        self.alphabet, self.length, self.quantization = alphabet, length, levels
        self.motifs = tuple(motifs)
        self.spacings = tuple(tuple(int(offset) for offset in one) for one in spacings)
        self.allowed: Bool[np.ndarray, "v v"] = allowed
        self._index = {letter: i for i, letter in enumerate(alphabet)}
        self._motifs = [[self._index[letter] for letter in one] for one in motifs]
        self._optimum = self._solve()

    @classmethod
    def random(
        cls,
        alphabet: str,
        length: int,
        motifs: int = 2,
        motif_length: int = 4,
        quantization: int | None = None,
        banned: float = 0.3,
        seed: int = 0,
    ) -> "Ehrlich":
        """Draw the motifs, their spacings and the banned transitions.

        Letters may repeat and follow one another around a random cycle, so feasible strings reach every letter from
        every other; of the remaining transitions, a share `banned` is banned. The motifs are consecutive parts of one
        random walk over the allowed transitions that never stays at a letter. The offsets of a motif are uniform over
        the increasing ones below `length` / `motifs`. The draws are those of numpy, so instances differ from the ones
        of other implementations with the same seed.

        Args:
            alphabet: Distinct letters, two or more.
            length: Length of the strings.
            motifs: Number of motifs.
            motif_length: Letters of a motif.
            quantization: Levels of a motif above 0; `motif_length` if None.
            banned: Share of banned transitions among those that may be banned.
            seed: Seed of the draws.

        Raises:
            ValueError: If the motifs do not fit into the length, or an argument is out of range.
        """
        v, block = len(alphabet), length // max(motifs, 1)
        if v < 2 or min(motifs, motif_length) < 1 or not 0 <= banned <= 1:
            raise ValueError(
                "Expected two or more letters, `motifs` and `motif_length` >= 1 and `banned` in [0, 1], got "
                f"{alphabet!r}, {motifs}, {motif_length} and {banned}."
            )
        if motif_length > block:
            raise ValueError(
                f"Expected a `length` >= {motifs * motif_length}, the letters of all motifs, got {length}."
            )
        generator = np.random.default_rng(seed)
        cycle = generator.permutation(v)
        allowed = np.eye(v, dtype=bool)
        allowed[cycle, np.roll(cycle, -1)] = True
        free = np.argwhere(~allowed)
        kept = generator.permutation(len(free))[round(banned * len(free)) :]
        allowed[tuple(free[kept].T)] = True
        walk = [int(generator.integers(v))]
        while len(walk) < motifs * motif_length:
            following = allowed[walk[-1]].copy()
            following[walk[-1]] = False
            walk.append(int(generator.choice(following.nonzero()[0])))
        letters = "".join(alphabet[i] for i in walk)
        spacings = [
            [0, *sorted(1 + generator.choice(block - 1, motif_length - 1, replace=False))] if motif_length > 1 else [0]
            for _ in range(motifs)
        ]
        parts = [letters[i : i + motif_length] for i in range(0, len(letters), motif_length)]
        return cls(alphabet, length, parts, spacings, allowed, quantization)

    def __call__(self, string: str) -> float:
        """Return f in [0, 1]; 0 if the string is not feasible."""
        indices = self._feasible_indices(string)
        if indices is None:
            return 0.0
        # The product of integers is exact, so the optimum is 1 and not nearly 1.
        levels = [self._level(indices, motif, s) for motif, s in zip(self._motifs, self.spacings, strict=True)]
        return math.prod(levels) / self.quantization ** len(levels)

    def feasible(self, string: str) -> bool:
        """Return whether the string has the length, the letters and no banned transition."""
        return self._feasible_indices(string) is not None

    def optimum(self) -> str:
        """Return a feasible string of value 1: the motifs in order, as close to the start as they fit."""
        return self._optimum

    def _feasible_indices(self, string: str) -> Int[np.ndarray, " L"] | None:
        if len(string) != self.length or not set(string) <= self._index.keys():
            return None
        indices = np.array([self._index[letter] for letter in string])
        return indices if self.allowed[indices[:-1], indices[1:]].all() else None

    def _level(self, indices: Int[np.ndarray, " L"], motif: Sequence[int], spacing: Sequence[int]) -> int:
        starts = self.length - spacing[-1]
        matches = sum((indices[s : s + starts] == a).astype(int) for a, s in zip(motif, spacing, strict=True))
        return int(np.max(matches)) * self.quantization // len(motif)

    def _solve(self) -> str:
        """Return the motifs in order, with as few letters as possible between them, extended to the length.

        Raises:
            ValueError: If there is no such feasible string.
        """
        v = len(self.alphabet)
        found: list[int] = []
        for motif, spacing in zip(self._motifs, self.spacings, strict=True):
            for j, letter in enumerate(motif):
                gaps = [spacing[j] - spacing[j - 1]] if j else range(1, v + 1)
                ends = np.arange(v) == letter
                walks = (_walk(self.allowed, found[-1], gap, ends) for gap in gaps) if found else iter([[letter]])
                between = next((one for one in walks if one is not None), None)
                if between is None:
                    pair = f"{self.alphabet[found[-1]]!r} to {self.alphabet[letter]!r}"
                    raise ValueError(f"Expected motifs that fit into a feasible string, got no walk from {pair}.")
                found += between
        missing = self.length - len(found)
        for before in range(missing + 1):
            head = _walk(self.allowed.T, found[0], before, np.ones(v, dtype=bool))
            tail = _walk(self.allowed, found[-1], missing - before, np.ones(v, dtype=bool))
            if head is not None and tail is not None:
                return "".join(self.alphabet[i] for i in [*reversed(head), *found, *tail])
        raise ValueError(
            f"Expected motifs that fit into a feasible string of {self.length} letters; they take {len(found)}."
        )


def _walk(allowed: Bool[np.ndarray, "v v"], start: int, steps: int, ends: Bool[np.ndarray, " v"]) -> list[int] | None:
    """Return the letters after `start` on an allowed walk that ends in one of `ends`, None if there is none."""
    reach = [ends]  # letters from which an end is 0, 1, ... steps away
    for _ in range(steps):
        reach.append((allowed & reach[-1]).any(1))
    if not reach[steps][start]:
        return None
    walk = [start]
    for left in reversed(range(steps)):
        walk.append(int((allowed[walk[-1]] & reach[left]).nonzero()[0][0]))
    return walk[1:]
