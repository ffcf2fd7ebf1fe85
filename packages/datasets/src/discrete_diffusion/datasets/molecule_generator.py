"""Random growth of small organic molecules: atom by atom, within valences, by a few rules of chemical taste."""

from collections.abc import Mapping
from random import Random
from typing import TypeVar

from rdkit import Chem

Drawn = TypeVar("Drawn")

VALENCE = {"C": 4, "N": 3, "O": 2, "F": 1}
HEAVY_ATOMS = {6: 0.02, 7: 0.13, 8: 0.36, 9: 0.49}
RINGS = {0: 0.42, 1: 0.55, 2: 0.03}
RING_SIZE = {3: 0.2, 5: 0.4, 6: 0.4}
RING_ATOM = {"C": 0.88, "N": 0.07, "O": 0.05}
AROMATIC_NITROGENS = {0: 0.75, 1: 0.25}
SHARED_ATOMS = {0: 0.4, 1: 0.1, 2: 0.5}  # with a ring that is there: none, spiro, fused
GROUP = {"C": 0.5, "O": 0.16, "N": 0.1, "=O": 0.13, "C#N": 0.05, "C#C": 0.01, "F": 0.05}
AROMATIC = 0.16  # of the molecules with rings
RING_DOUBLE_BOND = 0.03
QUATERNARY = 0.1  # of the draws that would put a fourth neighbor on a carbon
ZWITTERION = 0.03  # grown around an ammonium and a carboxylate; some of them fail to grow
AMMONIUM = 0.02  # of the neutral molecules with an amine

_ORDER = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}


def _draw(rng: Random, weights: Mapping[Drawn, float]) -> Drawn:
    return rng.choices(list(weights), list(weights.values()))[0]


class _Growth:
    """A molecular graph under construction, with room for so many more heavy atoms."""

    def __init__(self, rng: Random, room: int) -> None:
        self.rng = rng
        self.room = room
        self.elements: list[str] = []
        self.free: list[int] = []
        self.bonds: list[dict[int, int]] = []
        self.rings: list[list[int]] = []
        self.aromatic: list[int] = []

    def add(self, element: str) -> int:
        self.elements.append(element)
        self.free.append(VALENCE[element])
        self.bonds.append({})
        self.room -= 1
        return len(self.elements) - 1

    def bond(self, i: int, j: int, order: int = 1) -> None:
        self.bonds[i][j] = self.bonds[j][i] = self.bonds[i].get(j, 0) + order
        self.free[i] -= order
        self.free[j] -= order

    def open_atoms(self, valence: int = 1) -> list[int]:
        return [i for i, free in enumerate(self.free) if free >= valence]

    def open_carbons(self) -> list[int]:
        return [i for i in self.open_atoms() if self.elements[i] == "C"]

    def order(self, i: int) -> int:
        return max(self.bonds[i].values(), default=1)

    def heteroatoms(self, i: int) -> int:
        return sum(self.elements[j] != "C" for j in self.bonds[i])

    def is_carbonyl(self, i: int) -> bool:
        return any(order == 2 and self.elements[j] == "O" for j, order in self.bonds[i].items())

    def rings_of(self, i: int) -> list[list[int]]:
        return [ring for ring in self.rings if i in ring]

    def sensible(self, i: int, element: str) -> bool:
        """Return whether `i` may carry `element`.

        Few N-N, N-O, acetals, enols and quaternary carbons; no O-O, N-F, O-F.
        """
        saturated = self.elements[i] == "C" and self.order(i) == 1
        if saturated and self.free[i] == 1 and self.rng.random() > QUATERNARY:
            return False
        if element == "C" or i in self.aromatic:
            return element == "C" or self.elements[i] == "C"
        if self.elements[i] != "C":
            return "N" in (self.elements[i], element) and element != "F" and self.rng.random() < 0.06
        hetero = self.heteroatoms(i)
        if self.is_carbonyl(i):
            return element != "F" and (hetero < 2 or self.rng.random() < 0.2)
        if self.order(i) > 1:
            return self.order(i) == 2 and hetero == 0 and self.rng.random() < 0.3
        return hetero == 0 or (hetero == 1 and self.rng.random() < 0.35)

    def chain(self, start: int | None, end: int | None, length: int) -> list[int]:
        """Adds `length` atoms in a row after `start`, closed to `end`, which may be the first of them (None)."""
        chain: list[int] = []
        for step in range(length):
            before = chain[-1] if chain else start
            after = (chain[0] if end is None and chain else end) if step == length - 1 else None
            neighbors = [j for j in (before, after) if j is not None]
            element = _draw(self.rng, RING_ATOM)
            i = self.add(element if all(self.sensible(j, element) for j in neighbors) else "C")
            for j in neighbors:
                self.bond(j, i)
            chain.append(i)
        return chain

    def aromatic_ring(self) -> None:
        """Starts with a ring of six (benzene, azines) or of five (furan, pyrrole, azoles), as a Kekulé structure."""
        size = 6 if self.rng.random() < 0.3 else 5
        if size > self.room:
            return
        elements = ["C"] * size
        if size == 5:
            elements[0] = "N" if self.rng.random() < 0.6 else "O"
        for i in self.rng.sample(range(6 - size, size), _draw(self.rng, AROMATIC_NITROGENS)):
            elements[i] = "N"
        ring = [self.add(element) for element in elements]
        for i in range(size):
            self.bond(ring[i], ring[(i + 1) % size], 1 + i % 2)
        self.rings.append(ring)
        self.aromatic.extend(ring)

    def first_ring(self) -> None:
        size = _draw(self.rng, RING_SIZE)
        if size <= self.room:
            self.rings.append(self.chain(None, None, size))

    def next_ring(self) -> None:
        """Adds a ring that shares no atom, one (spiro) or two (fused) with a ring that is there."""
        shared = _draw(self.rng, SHARED_ATOMS)
        size = _draw(self.rng, RING_SIZE)
        new = size - shared
        if not 1 <= new <= self.room:
            return
        if shared == 0:
            root = self.rng.choice(self.open_carbons() or [0])
            ring = self.chain(None, None, size)
            self.rings.append(ring)
            self.bond(root, self.rng.choice([i for i in ring if self.elements[i] == "C"] or ring))
            return
        ring = self.rng.choice(self.rings)
        first = self.rng.randrange(len(ring))
        common = [ring[(first + i) % len(ring)] for i in range(shared)]
        start, end = common[-1], common[0]
        on_aromatic = any(i in self.aromatic for i in common)
        too_small = len(ring) + new < 5 or len(ring) <= shared
        crowded = len(self.rings_of(start)) > 1 and len(self.rings_of(end)) > 1
        full = min(self.free[start], self.free[end]) < (2 if start == end else 1)
        if full or crowded or too_small or (on_aromatic and (shared != 2 or new < 3)):
            return
        self.rings.append(common + self.chain(start, end, new))

    def group(self) -> None:
        """Adds an atom or a functional group to a random atom with a free valence, if that makes sense there."""
        group = _draw(self.rng, GROUP)
        roots = self.open_atoms(2 if group == "=O" else 1)
        head, *tail = (symbol for symbol in group if symbol in VALENCE)
        if not roots or len(tail) >= self.room:
            return
        root = self.rng.choice(roots)
        carbon = self.elements[root] == "C"
        if group == "=O":
            small = any(len(ring) == 3 for ring in self.rings_of(root))
            if carbon and not small and self.bonds[root] and self.order(root) == 1 and self.heteroatoms(root) < 2:
                self.bond(root, self.add("O"), 2)
        elif self.sensible(root, head) and (carbon or not tail or group == "C=O"):
            top = self.add(head)
            self.bond(root, top)
            for symbol in tail:
                self.bond(top, self.add(symbol), 3 if "#" in group else 2)

    def ring_double_bond(self) -> None:
        """Makes a C=C or C=N in a ring of five or more, between atoms of no other ring (Bredt's rule)."""

        def fits(i: int) -> bool:
            return self.free[i] > 0 and self.order(i) == 1 and len(self.rings_of(i)) == 1 and self.elements[i] in "CN"

        pairs = [
            (i, j)
            for ring in self.rings
            for i, j in zip(ring, ring[1:] + ring[:1], strict=True)
            if len(ring) >= 5 and fits(i) and fits(j) and "C" in (self.elements[i], self.elements[j])
        ]
        if pairs:
            self.bond(*self.rng.choice(pairs))

    def amines(self) -> list[int]:
        def saturated_carbon(i: int) -> bool:
            return self.elements[i] == "C" and self.order(i) == 1

        return [i for i, e in enumerate(self.elements) if e == "N" and all(map(saturated_carbon, self.bonds[i]))]

    def molecule(self, charges: Mapping[int, int]) -> Chem.Mol:
        molecule = Chem.RWMol()
        for i, element in enumerate(self.elements):
            atom = Chem.Atom(element)
            atom.SetFormalCharge(charges.get(i, 0))
            molecule.AddAtom(atom)
        for i, neighbors in enumerate(self.bonds):
            for j, order in neighbors.items():
                if i < j:
                    molecule.AddBond(i, j, _ORDER[order])
        Chem.SanitizeMol(molecule)
        return molecule.GetMol()


def grow(rng: Random) -> Chem.Mol | None:
    """Grows one molecule of 6 to 9 heavy atoms out of C, N, O and F; None where the draw leads nowhere."""
    zwitterion = rng.random() < ZWITTERION
    growth = _Growth(rng, _draw(rng, HEAVY_ATOMS) - (3 if zwitterion else 0))
    rings = _draw(rng, RINGS)
    if rings and rng.random() < AROMATIC:
        growth.aromatic_ring()
    elif rings:
        growth.first_ring()
    for _ in range(8):
        if growth.rings and len(growth.rings) < rings:
            growth.next_ring()
    if not growth.elements:
        growth.add("C")
    for _ in range(40):
        if growth.room > 0:
            growth.group()
    if growth.room > 0:
        return None
    if rng.random() < RING_DOUBLE_BOND:
        growth.ring_double_bond()
    amines = growth.amines()
    if not zwitterion:
        protonated = rng.random() < AMMONIUM
        return growth.molecule({rng.choice(amines): 1} if amines and protonated else {})
    roots = growth.open_carbons()
    if not amines or not roots:
        return None
    carbon, oxygen = growth.add("C"), growth.add("O")
    growth.bond(rng.choice(roots), carbon)
    growth.bond(carbon, oxygen)
    growth.bond(carbon, growth.add("O"), 2)
    return growth.molecule({rng.choice(amines): 1, oxygen: -1})
