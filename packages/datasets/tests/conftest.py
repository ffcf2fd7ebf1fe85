import pytest


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """300 of the embedded molecules."""
    pytest.importorskip("rdkit")
    from discrete_diffusion.datasets import molecules

    return molecules(300, cache_dir=tmp_path_factory.mktemp("molecules"), progress=False)
