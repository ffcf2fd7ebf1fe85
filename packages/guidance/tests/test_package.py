import re
import subprocess
import sys
from pathlib import Path

import torch

README = Path(__file__).parents[1] / "README.md"


def test_the_readme_example_does_what_it_says(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, str(README), "exec"), names)
    frequencies = names["tokens"].flatten().bincount() / 4000
    # 0.7^2 / 0.4, 0.2^2 / 0.2, 0.1^2 / 0.4, normalized; four standard deviations of 4,000 draws are below 0.024.
    expected = torch.tensor([1.225, 0.2, 0.025]) / 1.45
    torch.testing.assert_close(frequencies, expected, atol=0.024, rtol=0)
    assert "tensor" in capsys.readouterr().out


def test_importing_loads_torch_and_jaxtyping_alone():
    program = """
import sys, torch, jaxtyping
before = set(sys.modules)
import discrete_diffusion.guidance
new = {name for name in set(sys.modules) - before if name.split(".")[0] not in sys.stdlib_module_names}
roots = ("torch", "jaxtyping")
ours = ("discrete_diffusion", "discrete_diffusion.guidance")
strangers = [n for n in new if n.split(".")[0] not in roots and n not in ours and not n.startswith(ours[1] + ".")]
print(*strangers)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
