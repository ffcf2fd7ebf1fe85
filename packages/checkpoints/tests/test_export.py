"""Exported folders, loaded in transformers without our packages and in ours."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

from discrete_diffusion.backbones import DiTClassifier, HuggingFaceMaskedLM
from discrete_diffusion.checkpoints import Checkpoint, ClassifierCheckpoint, describe_generator, load
from discrete_diffusion.checkpoints.build import build
from discrete_diffusion.checkpoints.transformers_export.folder import export
from discrete_diffusion.checkpoints.transformers_export.modeling_code import modeling_files
from discrete_diffusion.guidance import ClassifierFree, sample

SAMPLERS = "discrete_diffusion.guidance"
ROOT = Path(__file__).parents[3]

ALONE = """
import importlib.abc, sys, warnings

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"discrete_diffusion", "jaxtyping", "beartype"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
warnings.simplefilter("error")
"""

COMPARE = """
import json, sys
import torch
from safetensors.torch import load_file
import transformers

for name in ("discrete_diffusion", "jaxtyping"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported")
folder, auto, example = sys.argv[1:]
model = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
examples = load_file(f"{folder}.safetensors")
labels = {"y": examples["y"]} if "y" in examples else {}
sigma = {} if auto == "AutoModelForCausalLM" else {"sigma": examples["sigma"]}
with torch.no_grad():
    logits = model(examples["ids"], **sigma, **labels).logits
    denoised = model.denoiser(examples["ids"], examples["t"], **labels)
drawn = model.sample(3, generator=torch.Generator().manual_seed(1), **({"y": 1, "gamma": 2.5} if labels else {}))
print(json.dumps({
    "logits": torch.allclose(logits, examples["logits"], rtol=0, atol=1e-6),
    "denoised": torch.allclose(denoised.exp(), examples["denoised"].exp(), rtol=0, atol=1e-6),
    "drawn": torch.equal(drawn, examples["drawn"]),
    "tokens": len(tokenizer),
    "training": model.training,
}))
exec(compile(example, "README.md", "exec"), {})
"""


def variant(checkpoint: Checkpoint, model: str, backbone: dict[str, Any], generator: torch.Generator) -> Checkpoint:
    """A checkpoint of another process and network, of the same vocabulary."""
    vocab_size = len(checkpoint.tokenizer)
    schedule = {"_target_": "discrete_diffusion.schedules.Geometric", "sigma_min": 1e-4, "sigma_max": 15.0}
    process: dict[str, Any] = {"_target_": f"discrete_diffusion.processes.{model}", "schedule": schedule}
    if model == "Marginal":
        process |= {"probabilities": [1.0 + i for i in range(vocab_size)]}
        process |= {"parameterization": {"_target_": "discrete_diffusion.processes.Mean"}}
    else:
        process |= {"vocab_size": vocab_size, **({"mask_id": 2} if model == "Absorbing" else {})}
    denoiser = {"_target_": "discrete_diffusion.processes.NetworkDenoiser", "_partial_": True, "process": process}
    lift = {"_target_": "discrete_diffusion.processes.Ancestral", "_partial_": True, "process": process}
    sampler = {"_target_": f"{SAMPLERS}.AncestralSampler", "process": process, "lift": lift, "steps": 3}
    if model == "NextToken":
        denoiser = {"_target_": "discrete_diffusion.processes.NextToken", "_partial_": True, "bos_id": 0}
        sampler = {"_target_": f"{SAMPLERS}.AutoregressiveSampler", "bos_id": 0}
    described = {"vocab_size": vocab_size, **backbone}
    network = build(described).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    label = checkpoint.label if "num_classes" in backbone else None
    objective = checkpoint.config["model"]["objective"]
    config = {"model": {"denoiser": denoiser, "objective": objective, "sampler": sampler}, "backbone": described}
    return Checkpoint({**checkpoint.config, **config}, network, checkpoint.tokenizer, label)


DIT = {"_target_": "discrete_diffusion.backbones.DiT", "hidden_size": 8, "num_blocks": 1, "num_heads": 2}
DIMAMBA = {"_target_": "discrete_diffusion.backbones.DiMamba", "hidden_size": 8, "num_blocks": 1, "state_size": 4}
UNET = {"_target_": "discrete_diffusion.backbones.UNet", "height": 4, "width": 4, "channels": 1, "hidden_channels": 8}
UNET |= {"multipliers": [1, 1], "num_res_blocks": 1, "attention_resolutions": [4], "cond_size": 8}
VARIANTS = {
    "absorbing": ("Absorbing", {**DIT, "num_classes": 2, "time_conditioning": False}),
    "marginal": ("Marginal", DIT),
    "mamba": ("Uniform", {**DIMAMBA, "num_classes": 2}),
    "unet": ("Uniform", {**UNET, "num_classes": 2}),
    "left-to-right": ("NextToken", {**DIT, "num_classes": 2, "causal": True}),
    "recurrent": ("NextToken", {**DIMAMBA, "causal": True}),
}


def examples(checkpoint: Checkpoint, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return inputs for the exported model, with the outputs of ours."""
    ids = torch.randint(len(checkpoint.tokenizer), (3, checkpoint.length), generator=generator)
    t, labels, steered = torch.tensor([0.1, 0.5, 0.9]), {}, {}
    if checkpoint.label is not None:
        labels = {"y": torch.tensor([0, 1, 2])}
        steered = {"y": 1, "on_kernel": [lambda kernel: ClassifierFree(kernel, gamma=2.5, null_label=2)]}
    denoiser = checkpoint.denoiser()
    left_to_right = not hasattr(denoiser, "process")
    sigma = torch.zeros(3) if left_to_right else denoiser.process.schedule.sigma(t)
    with torch.no_grad():
        logits = checkpoint.network(ids, sigma, labels.get("y"))
        denoised = denoiser(ids, t, **labels)
    drawn = checkpoint.sample(3, generator=torch.Generator().manual_seed(1), **steered)
    found = {"ids": ids, "t": t, "sigma": sigma, "logits": logits, "denoised": denoised, "drawn": drawn, **labels}
    return {name: tensor.contiguous() for name, tensor in found.items()}


def in_a_process(python: Path | str, script: str, *arguments: str, home: Path, cwd: Path) -> str:
    environment = {**os.environ, "HF_HOME": str(home), "HF_MODULES_CACHE": str(home / "modules"), "HF_HUB_OFFLINE": "1"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error", "PYTHONPATH": ""}
    done = subprocess.run(
        [str(python), "-c", script, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def auto_class(folder: Path) -> str:
    return next(name for name in json.loads((folder / "config.json").read_text())["auto_map"] if "Model" in name)


def compare(checkpoint: Checkpoint, folder: Path, generator: torch.Generator, *, python: Path | str, guard: str) -> str:
    """Hold the exported model to ours in another process; return what the example of its page prints there."""
    save_file(examples(checkpoint, generator), f"{folder}.safetensors")
    (example,) = re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(example.splitlines()) <= 10
    arguments = (str(folder), auto_class(folder), example)
    printed = in_a_process(python, guard + COMPARE, *arguments, home=folder.parent / "home", cwd=folder.parent)
    exported, _, printed = printed.partition("\n")
    same = {"logits": True, "denoised": True, "drawn": True}
    assert json.loads(exported) == {**same, "tokens": len(checkpoint.tokenizer), "training": False}
    return printed


def test_it_is_the_same_model_where_ours_cannot_be_imported(
    checkpoint: Checkpoint, tmp_path: Path, generator: torch.Generator
):
    folder = export(checkpoint, tmp_path / "tiny")
    printed = compare(checkpoint, folder, generator, python=sys.executable, guard=ALONE)
    guided = partial(ClassifierFree, gamma=2.0, null_label=2)
    ours = checkpoint.sample(4, y=1, on_kernel=[guided], generator=torch.Generator().manual_seed(0))
    assert printed == f"{checkpoint.decode(ours)}\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_so_is_every_process_and_network(checkpoint: Checkpoint, tmp_path: Path, generator: torch.Generator, name: str):
    model, backbone = VARIANTS[name]
    other = variant(checkpoint, model, backbone, generator)
    if name == "unet":
        data = {**other.config["data"], "length": 16}
        other = replace(other, config={**other.config, "length": 16, "data": data})
    folder = export(other, tmp_path / name)
    compare(other, folder, generator, python=sys.executable, guard=ALONE)
    assert load(folder).sample(2, generator=generator).shape == (2, other.length)


@pytest.mark.slow
def test_it_needs_torch_and_transformers_alone(checkpoint: Checkpoint, tmp_path: Path, generator: torch.Generator):
    uv, pins = shutil.which("uv"), ROOT / "pyproject.toml"
    if uv is None or not pins.is_file():
        pytest.skip("uv or the pinned versions are not here")
    import tomllib

    constraints = tomllib.loads(pins.read_text())["tool"]["uv"]["constraint-dependencies"]
    (tmp_path / "constraints.txt").write_text("\n".join(constraints))
    python = tmp_path / "alone" / "bin" / "python"
    made = subprocess.run([uv, "venv", "-q", "--python", sys.executable, tmp_path / "alone"], capture_output=True)
    packages = ["torch", "transformers", "-c", tmp_path / "constraints.txt"]
    for offline in (["--offline"], []):
        made = subprocess.run(
            [uv, "pip", "install", "-q", *offline, "--python", python, *packages], capture_output=True, text=True
        )
        if made.returncode == 0:
            break
    else:
        pytest.skip(f"torch and transformers cannot be had: {made.stderr}")
    folder = export(checkpoint, tmp_path / "tiny")
    assert compare(checkpoint, folder, generator, python=python, guard="").startswith("[")


def test_it_is_still_a_checkpoint_of_ours(checkpoint: Checkpoint, tmp_path: Path, generator: torch.Generator):
    found = load(export(checkpoint, tmp_path / "tiny"))
    ids, t, y = torch.randint(10, (2, 12), generator=generator), torch.tensor([0.2, 0.8]), torch.tensor([0, 2])
    assert torch.equal(found.denoiser()(ids, t, y=y), checkpoint.denoiser()(ids, t, y=y))
    assert found.label == checkpoint.label
    assert found.tokenizer.get_vocab() == checkpoint.tokenizer.get_vocab()
    assert found.config == checkpoint.config  # what transformers reads beside it is not ours to keep
    again = load(export(found, tmp_path / "again"))
    assert torch.equal(again.denoiser()(ids, t, y=y), checkpoint.denoiser()(ids, t, y=y))


SAVE = """
import sys
import transformers

transformers.AutoModelForMaskedLM.from_pretrained(sys.argv[1], trust_remote_code=True).save_pretrained(sys.argv[2])
transformers.AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True).save_pretrained(sys.argv[2])
"""


@pytest.mark.slow
def test_what_transformers_saves_of_it_is_one_too(checkpoint: Checkpoint, tmp_path: Path, generator: torch.Generator):
    labelled = replace(checkpoint, config={**checkpoint.config, "label": checkpoint.label.to_dict()})
    folder = export(labelled, tmp_path / "tiny")
    environment = os.environ | {"HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", SAVE, str(folder), str(tmp_path / "saved")]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    found = load(tmp_path / "saved")
    ids, t, y = torch.randint(10, (2, 12), generator=generator), torch.tensor([0.2, 0.8]), torch.tensor([0, 2])
    assert torch.equal(found.denoiser()(ids, t, y=y), checkpoint.denoiser()(ids, t, y=y))
    assert found.label == checkpoint.label


def test_classifiers_come_along(checkpoint: Checkpoint, tmp_path: Path):
    sizes = {"vocab_size": 10, "hidden_size": 8, "num_blocks": 1, "num_heads": 2, "num_outputs": 2}
    config = {
        "network": {"_target_": "discrete_diffusion.backbones.DiTClassifier", **sizes},
        "process": checkpoint.config["model"]["denoiser"]["process"],
        "quantity": None,
        "generator": {"path": "/somewhere/else/checkpoint", **describe_generator(checkpoint)},
    }
    noisy = ClassifierCheckpoint(config, DiTClassifier(**sizes).eval(), checkpoint.label, "noisy")
    folder = export(checkpoint.with_classifiers(noisy=noisy), tmp_path / "tiny")
    assert load(folder).classifiers["noisy"].kind == "noisy"
    assert "- `noisy`: noisy; qed <= 0.5, qed > 0.5" in (folder / "README.md").read_text()
    assert "/somewhere" not in "".join(path.read_text() for path in folder.rglob("*.json"))


def test_nobody_learns_where_the_data_lay(checkpoint: Checkpoint, tmp_path: Path):
    rows = {"_target_": "discrete_diffusion.datasets.table", "path": "projects/mine/rows.csv", "name": "owner/dataset"}
    data = {
        "kind": "strings",
        "column": "text",
        "path": "/secret/place/rows.csv",
        "rows": rows,
        "also": ["/secret/b", "~/secret/c"],
    }
    folder = export(replace(checkpoint, config={**checkpoint.config, "data": data}), tmp_path / "tiny")
    exported = json.loads((folder / "config.json").read_text())["data"]
    assert exported["path"] == exported["rows"]["path"] == "rows.csv"
    assert exported["rows"]["name"] == "owner/dataset"
    everything = "".join(path.read_text() for path in folder.rglob("*") if path.suffix in (".json", ".md", ".py"))
    assert not re.search("secret|projects", everything)
    assert str(tmp_path) not in everything


def test_in_this_process_too(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder = export(checkpoint, tmp_path / "in_process")
    model = AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True)
    assert AutoConfig.from_pretrained(folder, trust_remote_code=True).vocab_size == 10
    tokens = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)("CCO", return_tensors="pt")
    assert model(**tokens).logits.shape == (*tokens["input_ids"].shape, 10)
    assert isinstance(model(**tokens, return_dict=False), tuple)
    assert torch.equal(model.network.state_dict()["vocab_embed.embedding"], checkpoint.network.vocab_embed.embedding)
    with torch.no_grad():
        at_zero = model(tokens["input_ids"]).logits
        torch.testing.assert_close(at_zero, checkpoint.network(tokens["input_ids"], torch.zeros(1)))

    noise, times = torch.randint(10, (4, 12), generator=generator), torch.linspace(1, 0, 5)
    guided = sample(
        ClassifierFree(model.kernel, 2.0, null_label=model.null_label), noise, times, y=torch.ones(4).long()
    )
    assert guided.shape == (4, 12)
    xt, t, s, y = noise, torch.full((4,), 0.6), torch.full((4,), 0.4), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(model.kernel(xt, t, s, y=y), checkpoint.kernel()(xt, t, s, y=y))
    assert model.sample(2, y=torch.tensor([0, 2]), gamma=0.5, steps=1, generator=generator).shape == (2, 12)
    with pytest.raises(ValueError, match=r"Expected 0 <= `y` <= 2"):
        model.sample(2, y=3)
    with pytest.raises(ValueError, match="Expected labels for guidance"):
        model.sample(2, gamma=2.0)


def test_a_network_of_transformers_is_saved_as_one(checkpoint: Checkpoint, tmp_path: Path, generator: torch.Generator):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    network = HuggingFaceMaskedLM({"model_type": "bert", "max_position_embeddings": 12, **sizes}, vocab_size=10).eval()
    bert = variant(checkpoint, "Absorbing", DIT, generator)
    bert = replace(bert, network=network, config={**bert.config, "backbone": network.blueprint})
    folder = export(bert, tmp_path / "bert")
    assert not list(folder.glob("*.py"))
    model = AutoModelForMaskedLM.from_pretrained(folder)
    ids = torch.randint(10, (2, 12), generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, network(ids, torch.zeros(2)))
    assert len(AutoTokenizer.from_pretrained(folder)) == 10
    card = (folder / "README.md").read_text()
    assert 'AutoModelForMaskedLM.from_pretrained("bert")' in card
    assert "This folder holds no more than that" in card


def test_code_that_is_not_ours_is_refused_and_nothing_is_left(checkpoint: Checkpoint, tmp_path: Path):
    backbone = {**checkpoint.config["backbone"], "_target_": "my_package.MyNetwork"}
    with pytest.raises(ValueError, match=r"of ours, got my_package\.MyNetwork"):
        export(replace(checkpoint, config={**checkpoint.config, "backbone": backbone}), tmp_path / "tiny")
    assert list(tmp_path.iterdir()) == []


def test_only_the_files_that_the_model_needs_are_copied(checkpoint: Checkpoint, tmp_path: Path):
    folder = export(checkpoint, tmp_path / "tiny")
    texts = {path.stem: path.read_text() for path in folder.glob("*.py")}
    assert {"modeling_discrete_diffusion", "annotations", "backbones_dit", "processes_uniform"} <= texts.keys()
    assert {"backbones_unet", "processes_absorbing"}.isdisjoint(texts)
    imported = set()
    for name, text in texts.items():
        relative = re.findall(r"^\s*from \.(\S+) import", text, re.MULTILINE)
        assert set(relative) <= texts.keys()
        assert not re.search(r"^\s*(?:import|from) (?:discrete_diffusion|jaxtyping|flash_attn)", text, re.MULTILINE)
        assert "# SPDX-License-Identifier: Apache-2.0" in text
        if name == "modeling_discrete_diffusion":
            imported = set(relative)
    assert imported == texts.keys() - {"modeling_discrete_diffusion"}


@pytest.mark.parametrize(
    "target", ["os.system", "discrete_diffusion.nothing.Here", "discrete_diffusion.backbones.Nothing"]
)
def test_foreign_code_is_not_copied(target: str):
    with pytest.raises(ValueError, match="of ours, got"):
        modeling_files([target])
