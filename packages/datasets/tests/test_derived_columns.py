import pytest

from discrete_diffusion.datasets import derived_columns as module
from discrete_diffusion.datasets.derived_columns import derived_columns

STRINGS = ["a", "bb", "bb", "ccc"]


@pytest.fixture
def computed(monkeypatch, tmp_path):
    """Strings of which `length` was computed; columns of four strings or more are kept."""
    monkeypatch.setattr(module, "WORTH_KEEPING", 4)
    monkeypatch.setenv("DISCRETE_DIFFUSION_CACHE", str(tmp_path))
    return []


def compute(computed, strings=STRINGS, version="1"):
    def length(string):
        computed.append(string)
        return {"length": len(string), "first": string[0]}

    return derived_columns(strings, length, name="lengths of strings", version=version).to_pydict()


def test_they_are_computed_once_and_anew_where_anything_is_different(computed, tmp_path):
    expected = {"length": [1, 2, 2, 3], "first": ["a", "b", "b", "c"]}
    assert compute(computed) == expected
    assert compute(computed) == expected
    assert computed == STRINGS
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"]
    compute(computed, version="2")
    # The same letters, cut elsewhere.
    assert compute(computed, ["ab", "b", "bb", "ccc"])["length"] == [2, 1, 2, 3]
    assert len(computed) == 12


def test_few_are_not_kept(computed, tmp_path):
    assert compute(computed, STRINGS[:3]) == compute(computed, STRINGS[:3])
    assert len(computed) == 6
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_is_made_again(computed, tmp_path, caplog):
    first = compute(computed)
    (path,) = tmp_path.iterdir()
    path.write_text("nonsense")
    assert compute(computed) == first
    assert "Computing again" in caplog.text
    assert compute(computed) == first
    assert len(computed) == 8
