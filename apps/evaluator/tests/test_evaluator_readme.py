import re
from collections.abc import Callable
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs(checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(checkpoint("udlm").parent)
    names: dict[str, object] = {}
    exec(compile(block.replace("outputs", "."), str(README), "exec"), names)
    assert names["tokens"].shape == (100, names["model"].length)
