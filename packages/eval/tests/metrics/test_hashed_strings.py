import numpy as np

from discrete_diffusion.eval import HashedStrings, ReferenceMolecules, evaluate_molecules


def test_the_set_holds_the_strings_and_no_others():
    strings = [f"string {i}" for i in range(1000)]
    hashed = HashedStrings.of([*strings, *strings])
    assert len(hashed) == 1000
    assert np.all(np.diff(hashed.hashes.astype(object)) > 0)
    assert all(one in hashed for one in strings)
    assert not any(f"another {i}" in hashed for i in range(1000))
    assert 3 not in hashed
    assert "" not in HashedStrings.of([])


def test_molecules_are_compared_alike_with_strings_and_with_their_hashes():
    training, generated = ["CCO", "c1ccccc1", "C1CC1"], ["OCC", "CCN", "C1CC1", "C(", "CCN"]
    reference = ReferenceMolecules.of(training)
    hashed = ReferenceMolecules(HashedStrings.of(training), HashedStrings.of(training))
    assert evaluate_molecules(generated, hashed) == evaluate_molecules(generated, reference)
