"""Every YAML there is composes, and builds what it names."""

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

FOLDER = Path(str(files("discrete_diffusion.trainer") / "config"))
OPTIONS = sorted(f"{path.parent.name}={path.stem}" for path in FOLDER.glob("*/*.yaml"))
FACTS = {
    "vocab_size": 12,
    "length": 32,
    "bos_id": 0,
    "mask_id": 2,
    "num_classes": 2,
    "marginals": [1 / 12] * 12,
}
NEEDED = {
    "data=custom": ["data.rows._target_=my_package.my_rows", "data.column=text"],
    "data=table": ["data.path=my.csv", "data.column=text"],
    "label=percentile": ["label.column=qed"],
    "label=category": ["label.column=kind"],
    "tokenizer=smiles_vocab": ["tokenizer.path=vocab.json"],
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_builds_what_it_names(configure, tmp_path: Path, option: str):
    config = configure(option, *NEEDED.get(option, []), output=tmp_path)
    config.facts = FACTS
    with torch.device("meta"):
        network = instantiate(config.backbone)
    assert network.vocab_size == 12
    denoiser = instantiate(config.model.denoiser)(network=lambda xt, sigma, **_: torch.zeros(*xt.shape, 12))
    objective = instantiate(config.model.objective)
    instantiate(config.model.sampler)
    x0 = torch.randint(3, 12, (2, 5), generator=torch.Generator().manual_seed(0))
    assert objective.loss(denoiser, x0, torch.zeros(2, dtype=torch.long)).isfinite().all()
    optimizer = instantiate(config.optimizer)(network.named_parameters())
    instantiate(config.lr_scheduler)(optimizer)
    instantiate(config.callbacks)
    instantiate(config.score)
    if option not in NEEDED:
        instantiate(config.label)
        instantiate(config.tokenizer)


def test_the_paper_s_runs_have_the_paper_s_numbers(configure, tmp_path: Path):
    for option in (option for option in OPTIONS if option.startswith("experiment=qm9_")):
        config = configure(option, output=tmp_path)
        assert (config.steps, config.batch_size, config.optimizer.lr) == (25_000, 2048, 3e-4)
        assert (config.backbone.hidden_size, config.backbone.num_blocks, config.backbone.num_heads) == (768, 12, 12)
        assert config.data.length == 32
        assert config.schedule._target_.endswith("LogLinear")


def test_the_defaults_of_a_run_are_those_that_the_readme_tells(configure, tmp_path: Path):
    config = configure(output=tmp_path)
    assert config.model.process._target_.endswith("Uniform")
    assert config.data.rows._target_.endswith("molecules")
    assert (config.label.column, config.label.percentile) == ("qed", 90.0)
