"""Example of the README."""

import re
from pathlib import Path
from typing import Any

import torch


def test_readme_example_runs() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    network, hidden, sigma, y = (names[name] for name in ("network", "hidden", "sigma", "y"))
    assert names["logits"].shape == (8, 24, 40)
    assert torch.equal(network.decode(hidden, sigma, y), names["logits"])
    assert names["some"].shape == (int((names["xt"] == 0).sum()), 40)
    assert names["scores"].shape == (8, 2)
    assert len(names["published"].blocks) == 8
