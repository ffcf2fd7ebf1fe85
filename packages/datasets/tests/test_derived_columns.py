import pytest

from discrete_diffusion.datasets import derived_columns as module
from discrete_diffusion.datasets.derived_columns import derived_columns

STRINGS = ["a", "bb", "bb", "ccc"]


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Every string that `length` was asked of, where four are worth keeping."""
    monkeypatch.setattr(module, "WORTH_KEEPING", 4)
    monkeypatch.setenv("DISCRETE_DIFFUSION_CACHE", str(tmp_path))
    return []


def compute(asked, strings=STRINGS, version="1"):
    def length(string):
        asked.append(string)
        return {"length": len(string), "first": string[0]}

    return derived_columns(strings, length, name="lengths of strings", version=version).to_pydict()


def test_they_are_computed_once_and_anew_where_anything_is_different(asked, tmp_path):
    expected = {"length": [1, 2, 2, 3], "first": ["a", "b", "b", "c"]}
    assert compute(asked) == expected
    assert compute(asked) == expected
    assert asked == STRINGS
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"]
    compute(asked, version="2")
    # The same letters, cut elsewhere.
    assert compute(asked, ["ab", "b", "bb", "ccc"])["length"] == [2, 1, 2, 3]
    assert len(asked) == 12


def test_few_are_not_kept(asked, tmp_path):
    assert compute(asked, STRINGS[:3]) == compute(asked, STRINGS[:3])
    assert len(asked) == 6
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_is_made_again(asked, tmp_path, caplog):
    first = compute(asked)
    (path,) = tmp_path.iterdir()
    path.write_text("nonsense")
    assert compute(asked) == first
    assert "Computing again" in caplog.text
    assert compute(asked) == first
    assert len(asked) == 8
