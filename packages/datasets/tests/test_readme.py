import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("rdkit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISCRETE_DIFFUSION_CACHE", str(tmp_path))
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, str(README), "exec"), {})
    assert re.search(r"\('qed <= (0\.\d+)', 'qed > \1'\)\n\['[^<]+'\]\n$", capsys.readouterr().out)
    assert (tmp_path / "checkpoint" / "tokenizer.json").exists()
