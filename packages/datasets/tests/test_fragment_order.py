"""Every order of the fragments of a SAFE string is the same molecule."""

import re
from itertools import permutations

import pytest
import torch

from discrete_diffusion.datasets import (
    FragmentOrder,
    character_tokenizer,
    decode,
    safe_to_smiles,
    smiles_to_safe,
    smiles_tokenizer,
)

pytest.importorskip("rdkit.Chem")

MOLECULES = [
    "C",
    "CCOc1ccccc1",
    "CC(=O)[O-].C[NH2+]Cc1ccccc1",
    "C[C@H](N)C(=O)N[C@@H](Cc1ccccc1)C(=O)OC",
    "C[C@](O)(OC)C(=O)NC[C@@](F)(NC)C(=O)OC",
    "CO/N=C(\\C)c1ccccc1",
    "CN1CCN(CC1)c1nc2cc(Cl)ccc2[nH]c2ccccc12",
    "c1ccccc1-c1ccccc1-n1cccc1",
]


def orders(safe: str) -> set[str]:
    """Every order, as strings: attachment points are numbered from %10 on as they appear."""
    found = set()
    for order in permutations(safe.split(".")):
        text = ".".join(order)
        numbers = list(dict.fromkeys(re.findall(r"%\d\d", text)))
        found.add(re.sub(r"%\d\d", lambda one: f"%{10 + numbers.index(one[0])}", text))  # noqa: B023
    return found


@pytest.mark.parametrize("smiles", MOLECULES)
def test_every_order_is_drawn_and_is_the_same_molecule(smiles: str):
    safe = smiles_to_safe(smiles)
    tokenizer = smiles_tokenizer([safe, "C.C"])
    x0 = torch.tensor(tokenizer(safe, padding="max_length", max_length=80)["input_ids"]).expand(2000, -1)
    made = FragmentOrder(tokenizer)(x0, torch.Generator().manual_seed(0))
    strings = decode(tokenizer, made)
    expected = orders(safe)
    assert set(strings) <= expected
    if len(expected) <= 120:
        assert set(strings) == expected
    assert {safe_to_smiles(one) for one in set(strings)} == {safe_to_smiles(safe)}
    framing = torch.isin(x0, torch.tensor([tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]))
    assert torch.equal(made[framing], x0[framing])
    assert made.sort(1).values.equal(x0.sort(1).values)  # the same tokens


def test_orders_are_equally_likely():
    safe = smiles_to_safe("CCOc1ccccc1")
    tokenizer = smiles_tokenizer([safe])
    x0 = torch.tensor(tokenizer(safe)["input_ids"]).expand(6000, -1)
    strings = decode(tokenizer, FragmentOrder(tokenizer)(x0, torch.Generator().manual_seed(0)))
    counts = [strings.count(one) for one in orders(safe)]
    assert len(counts) == 6
    # Chi-square of five degrees of freedom: above 20.5 with probability 0.001.
    assert sum((count - 1000) ** 2 / 1000 for count in counts) < 20.5


def test_a_ring_closure_of_two_digits_keeps_its_number():
    tokenizer = smiles_tokenizer(["C%10CC%10C%11.N%11%12.O%12"])
    x0 = torch.tensor(tokenizer("C%10CC%10C%11.N%11%12.O%12")["input_ids"]).expand(200, -1)
    strings = set(decode(tokenizer, FragmentOrder(tokenizer)(x0, torch.Generator().manual_seed(0))))
    assert "O%11.N%12%11.C%10CC%10C%12" in strings
    assert len(strings) == 6
    assert {safe_to_smiles(one) for one in strings} == {"ONCC1CC1"}


def test_rows_of_several_lengths_do_not_mix():
    safe = [smiles_to_safe(one) for one in MOLECULES]
    tokenizer = smiles_tokenizer(safe)
    x0 = torch.tensor(tokenizer(safe, padding=True)["input_ids"])
    for seed in range(20):
        strings = decode(tokenizer, FragmentOrder(tokenizer)(x0, torch.Generator().manual_seed(seed)))
        assert list(map(safe_to_smiles, strings)) == list(map(safe_to_smiles, safe))


def test_strings_of_one_fragment_are_refused():
    with pytest.raises(ValueError, match=r"Expected a tokenizer with the symbol '\.'"):
        FragmentOrder(character_tokenizer(["CO"]))
