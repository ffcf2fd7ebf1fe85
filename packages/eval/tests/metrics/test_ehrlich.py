import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from discrete_diffusion.eval import Ehrlich


def by_definition(
    string: str, motifs: Sequence[str], spacings: Sequence[Sequence[int]], banned: set[str], q: int
) -> float:
    """The function letter by letter; `banned` are pairs of neighbors."""
    if any(string[i : i + 2] in banned for i in range(len(string) - 1)):
        return 0.0
    value = 1.0
    for motif, spacing in zip(motifs, spacings, strict=True):
        best = 0
        for start in range(len(string)):
            if start + spacing[-1] < len(string):
                hits = sum(string[start + s] == a for a, s in zip(motif, spacing, strict=True))
                best = max(best, hits * q // len(motif))
        value *= best / q
    return value


@pytest.mark.parametrize(
    ("alphabet", "length", "motifs", "motif_length", "quantization", "seed"),
    [
        ("ACGT", 6, 2, 3, 3, 0),
        ("ACGT", 7, 2, 3, 1, 1),
        ("abc", 8, 2, 4, 2, 2),
        ("01", 9, 1, 4, 3, 3),
        ("ACDEF", 5, 1, 2, 2, 4),
    ],
)
def test_equals_the_definition_on_all_strings(
    alphabet: str, length: int, motifs: int, motif_length: int, quantization: int, seed: int
) -> None:
    f = Ehrlich.random(alphabet, length, motifs, motif_length, quantization, seed=seed)
    banned = {a + b for i, a in enumerate(alphabet) for j, b in enumerate(alphabet) if not f.allowed[i, j]}
    strings = ["".join(one) for one in itertools.product(alphabet, repeat=length)]
    values = [f(one) for one in strings]
    expected = [by_definition(one, f.motifs, f.spacings, banned, quantization) for one in strings]
    assert values == pytest.approx(expected)
    assert max(values) == 1.0
    assert f(f.optimum()) == 1.0
    levels = {np.prod(one) for one in itertools.product(np.arange(quantization + 1) / quantization, repeat=motifs)}
    assert all(min(abs(value - level) for level in levels) < 1e-12 for value in set(values))
    assert [f.feasible(one) for one in strings] == [not any(pair in one for pair in banned) for one in strings]


def test_hand_worked_values() -> None:
    # AxC and G.T at distance 3; C may not follow A.
    transitions = np.ones((4, 4))
    transitions[0, 1] = 0
    f = Ehrlich("ACGT", 8, ["AC", "GT"], [[0, 2], [0, 3]], transitions)
    assert f("AGCGAATA") == 1.0
    assert f("AGCGAAGA") == 0.5
    assert f("AGAGAAGA") == 0.25
    assert f("AGCAAAAA") == 0.5  # G is there, without T three letters on
    assert f("TTTTTTTT") == 0.0
    assert f.feasible("TTTTTTTT")
    assert f("ACCGAATA") == 0.0
    assert not f.feasible("ACCGAATA")
    assert f.motifs == ("AC", "GT")


def test_quantization_rounds_matches_down() -> None:
    exact = Ehrlich("abcd", 4, ["abcd"], [[0, 1, 2, 3]])
    coarse = Ehrlich("abcd", 4, ["abcd"], [[0, 1, 2, 3]], quantization=2)
    single = Ehrlich("abcd", 4, ["abcd"], [[0, 1, 2, 3]], quantization=1)
    strings = ["dddc", "addc", "abda", "abca", "abcd"]  # 0, 1, 2, 3 and 4 matches
    assert [exact(one) for one in strings] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [coarse(one) for one in strings] == [0.0, 0.0, 0.5, 0.5, 1.0]
    assert [single(one) for one in strings] == [0.0, 0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("string", ["", "ACG", "ACGTACGTA", "ACGTACGX", "acgtacgt"])
def test_other_strings_are_not_feasible(string: str) -> None:
    f = Ehrlich("ACGT", 8, ["AC"], [[0, 1]])
    assert not f.feasible(string)
    assert f(string) == 0.0


def test_seeds() -> None:
    one, same, other = (Ehrlich.random("ACDEFGHIKLMNPQRSTVWY", 64, 4, 4, seed=seed) for seed in (0, 0, 1))
    assert (one.motifs, one.spacings, one.optimum()) == (same.motifs, same.spacings, same.optimum())
    assert (one.allowed == same.allowed).all()
    assert one.motifs != other.motifs
    # 20 letters stay or go around the cycle; 30 % of the 360 other transitions are banned.
    assert (~one.allowed).sum() == 108


@pytest.mark.parametrize("seed", range(20))
def test_every_draw_can_be_solved(seed: int) -> None:
    f = Ehrlich.random("ACGT", 32, 4, 4, banned=1.0, seed=seed)
    assert f(f.optimum()) == 1.0
    tight = Ehrlich.random("ACGT", 16, 4, 4, seed=seed)
    assert tight(tight.optimum()) == 1.0


def test_letters_fill_the_gaps_where_a_letter_may_not_repeat() -> None:
    # Only a -> b -> c -> a: from a to a in three steps, and c before the first a.
    f = Ehrlich("abc", 5, ["aa"], [[0, 3]], [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert f.optimum() == "abcab"
    with pytest.raises(ValueError, match="no walk from 'a' to 'a'"):
        Ehrlich("abc", 5, ["aa"], [[0, 2]], [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    # b has no successor.
    assert Ehrlich("ab", 3, ["ab"], [[0, 1]], [[1, 1], [0, 0]]).optimum() == "aab"
    # b leads to c, which has no successor, and to d.
    transitions = np.array([[0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1]])
    assert Ehrlich("abcd", 5, ["ab"], [[0, 1]], transitions).optimum() == "abddd"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("AAC", 4, ["A"], [[0]]), "distinct letters"),
        (("AC", 4, [], []), "one length"),
        (("AC", 4, ["A", "AC"], [[0], [0, 1]]), "one length"),
        (("AC", 4, ["AG"], [[0, 1]]), "letters 'AC'"),
        (("AC", 4, ["AC"], [[1, 2]]), "increasing offsets from 0"),
        (("AC", 4, ["AC"], [[0, 0]]), "increasing offsets from 0"),
        (("AC", 4, ["AC"], []), "spacing for each"),
        (("AC", 4, ["AC"], [[0, 1]], [[1]]), r"shape \(2, 2\)"),
        (("AC", 4, ["AC"], [[0, 1]], None, 3), "`quantization` from 1 to 2"),
        (("AC", 4, ["AC", "AC"], [[0, 2], [0, 2]]), "fit into a feasible string of 4 letters; they take 6"),
    ],
)
def test_bad_arguments(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ehrlich(*arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"motif_length": 5}, "`length` >= 10"),
        ({"alphabet": "A"}, "two or more letters"),
        ({"banned": 1.5}, "`banned`"),
    ],
)
def test_bad_draws(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ehrlich.random(**({"alphabet": "ACGT", "length": 8} | changes))
