"""Sets of strings by their hashes."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt64


@dataclass(frozen=True, eq=False)
class HashedStrings:
    """Set of strings that keeps 8 bytes for each, and not the strings.

    Of n strings, another one is taken for a member with probability n / 2^64.

    Args:
        hashes: Sorted hashes.
    """

    hashes: UInt64[np.ndarray, " n"]

    @classmethod
    def of(cls, strings: Iterable[str]) -> "HashedStrings":
        """Return the set of the strings."""
        return cls(np.unique(np.fromiter(map(_hash, strings), np.uint64)))

    def __contains__(self, string: object) -> bool:
        """Return whether a string is in the set."""
        if not isinstance(string, str):
            return False
        value = _hash(string)
        place = np.searchsorted(self.hashes, value)
        return bool(place < len(self.hashes) and self.hashes[place] == value)

    def __len__(self) -> int:
        """Return the number of distinct strings."""
        return len(self.hashes)


def _hash(string: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(string.encode(), digest_size=8).digest(), "big"))
