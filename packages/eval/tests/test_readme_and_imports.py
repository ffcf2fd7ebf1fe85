import re
import subprocess
import sys
from pathlib import Path

import pytest

import discrete_diffusion.eval

README = Path(__file__).parents[1] / "README.md"


def test_readme_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rdkit")
    pytest.importorskip("PIL")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(block, str(README), "exec"), {})
    assert {path.suffix for path in tmp_path.iterdir()} == {".png"}


def test_every_public_name_exists() -> None:
    for extra in ("rdkit", "matplotlib", "PIL"):
        pytest.importorskip(extra)
    for name in discrete_diffusion.eval.__all__:
        assert getattr(discrete_diffusion.eval, name) is not None
    assert set(discrete_diffusion.eval.__all__) <= set(dir(discrete_diffusion.eval))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = discrete_diffusion.eval.nothing


def test_numpy_and_scipy_are_enough() -> None:
    program = """
import sys
for name in ("rdkit", "matplotlib", "PIL"):
    sys.modules[name] = None
import discrete_diffusion.eval as e
assert e.describe([1.0]).mean == e.Likelihood.of_batch([[1.0]]).nats == 1.0
assert "torch" not in sys.modules
for name, extra in (("qed", "molecules"), ("draw_sweep", "plots"), ("draw_denoising", "plots")):
    try:
        getattr(e, name)
    except ModuleNotFoundError as error:
        assert f"install `discrete-diffusion-eval[{extra}]`" in str(error), error
    else:
        raise AssertionError(name)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
