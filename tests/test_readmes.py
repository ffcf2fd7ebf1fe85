"""Python examples of the root README and of docs/."""

import re
import shutil
from pathlib import Path

import programs
import pytest
import torch

from discrete_diffusion.backbones import DiT
from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import FittedValueLabel, ThresholdLabel, smiles_tokenizer

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[object]:
    """Each page's blocks joined, since a page is read from top to bottom."""
    pages = {page: "\n".join(BLOCK.findall(page.read_text())) for page in PAGES if page.is_file()}
    return [pytest.param(code, id=str(page.relative_to(ROOT))) for page, code in pages.items() if code]


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `uv run trainer` leaves it, with a model of molecules in two classes that has learned nothing."""
    tokenizer = smiles_tokenizer(["CCO", "c1ccccc1", "CN(C)C=O"])
    backbone = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_blocks": 1, "num_heads": 2, "num_classes": 2}
    schedule = {"_target_": "discrete_diffusion.schedules.LogLinear"}
    process = {"_target_": "discrete_diffusion.processes.Uniform", "schedule": schedule, "vocab_size": len(tokenizer)}
    sampler = "discrete_diffusion.guidance.AncestralSampler"
    lift = {"_target_": "discrete_diffusion.processes.Ancestral", "_partial_": True, "process": process}
    config = {
        "model": {
            "denoiser": {
                "_target_": "discrete_diffusion.processes.NetworkDenoiser",
                "_partial_": True,
                "process": process,
            },
            "objective": {"_target_": "discrete_diffusion.processes.ContinuousNELBO", "process": process},
            "sampler": {"_target_": sampler, "process": process, "lift": lift, "steps": 4},
        },
        "backbone": {"_target_": "discrete_diffusion.backbones.DiT", **backbone},
        "data": {"kind": "molecules"},
        "length": 12,
    }
    torch.manual_seed(0)
    network = DiT(**backbone)
    folder = tmp_path_factory.mktemp("runs") / "outputs"
    backbone |= {"num_classes": None, "num_values": 2}
    described = {**config, "backbone": {"_target_": "discrete_diffusion.backbones.DiT", **backbone}}
    values = FittedValueLabel(("qed", "ring_count"), (0.5, 0.5), (0.1, 0.5))
    numbers = Checkpoint(described, DiT(**backbone), tokenizer, None, values=values)
    numbers.save(folder / "values" / "2025-01-01_00-00-00" / "checkpoint")
    checkpoint = Checkpoint(config, network, tokenizer, ThresholdLabel("qed", 0.58))
    checkpoint.save(folder / "molecules" / "2026-01-01_00-00-00" / "checkpoint")
    return folder


@pytest.mark.parametrize("code", blocks())
def test_the_code_of_a_page_runs(code: str, outputs: Path, tmp_path: Path):
    shutil.copytree(outputs, tmp_path / "outputs")
    (tmp_path / "page.py").write_text(code)
    run = programs.run("page.py", cwd=tmp_path)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("command", ["uv run trainer", "uv run evaluator", "uv run pytest"])
def test_the_readme_tells_the_commands(command: str):
    assert re.search(rf"^\s*{command}\b", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_what_ci_runs_last_is_what_the_readme_tells():
    assert "\nuv run pytest\n" in (ROOT / ".ci" / "run").read_text()


def test_links_between_pages_lead_somewhere():
    pages = [*PAGES, ROOT / "CONTRIBUTING.md", *ROOT.glob("*/*/README.md")]
    for page in filter(Path.is_file, pages):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
