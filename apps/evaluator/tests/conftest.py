import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.trainer.data import build_data
from discrete_diffusion.trainer.train import build_checkpoint

TINY = ["data.rows.size=300", "backbone.hidden_size=16", "backbone.num_blocks=1", "backbone.cond_size=16"]
CATEGORY = ["label=category", "label.column=kind"]
KINDS = {
    "udlm": TINY,
    "mdlm": [*TINY, "model=mdlm"],
    "ar": [*TINY, "model=ar"],
    "unlabeled": [*TINY, "label=none"],
    "table": [
        "data=table",
        "data.path=words.csv",
        "data.column=word",
        "label=category",
        "label.column=kind",
        *TINY[1:],
    ],
}


def composed(app: str, overrides: list[str]) -> DictConfig:
    with initialize_config_module(f"discrete_diffusion.{app}.config", version_base="1.3"):
        return compose(app, overrides)


@pytest.fixture(scope="session")
def configured() -> Callable[..., DictConfig]:
    """The evaluator's configuration, small and quick unless told otherwise."""
    quick = ["samples=24", "batch_size=16", "seeds=[1,2]", "repeats=1", "pictures.draw=false"]
    return lambda *overrides: composed("evaluator", [*quick, *overrides])


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "words.csv"
    rows = [{"word": a + b, "kind": "long" if len(b) > 1 else "short"} for a in "abcdefgh" for b in ("x", "yy", "xyz")]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["word", "kind"])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, words: Path) -> Callable[[str], Path]:
    """The folder of a tiny model's checkpoint, trained for a moment, by the name of its kind."""
    root, patch = tmp_path_factory.mktemp("runs"), pytest.MonkeyPatch()
    patch.setenv("DISCRETE_DIFFUSION_CACHE", str(tmp_path_factory.mktemp("cache")))
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            overrides = [one.replace("words.csv", str(words)) for one in KINDS[kind]]
            made[kind] = train(composed("trainer", overrides), root / kind / "checkpoint")
        return made[kind]

    yield make
    patch.undo()


def train(config: DictConfig, directory: Path) -> Path:
    settings = OmegaConf.to_container(config.data, resolve=True)
    rule = instantiate(config.label) if config.label else None
    data = build_data(settings, tokenizer=instantiate(config.tokenizer), label=rule, length=None)
    # The parameters are drawn from the global generator, which is put back.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build_checkpoint(config, settings, data)
    objective, denoiser = made.objective(), made.denoiser()
    optimizer = torch.optim.Adam(made.network.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    batch = data.train[:64]
    for _ in range(60):
        loss = objective.loss(denoiser, batch["input_ids"], batch.get("label"), generator=generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return made.save(directory)
