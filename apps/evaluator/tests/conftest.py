import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.checkpoints import build_data, load
from discrete_diffusion.trainer import resolvers
from discrete_diffusion.trainer.train import build_checkpoint
from discrete_diffusion.trainer.train_classifier import build_classifier, load_data

TINY = ["data.rows.size=300", "backbone.hidden_size=16", "backbone.num_blocks=1", "backbone.cond_size=16"]
CATEGORY = ["label=category", "label.column=kind"]
KINDS = {
    "udlm": TINY,
    "mdlm": [*TINY, "model=mdlm"],
    "marginal": [*TINY, "model=marginal"],
    "ar": [*TINY, "model=ar"],
    "unlabeled": [*TINY, "label=none"],
    "values": [*TINY, "label=values", "label.column=[qed,ring_count]"],
    "safe": ["data=safe", "+data.rows.source.size=300", *TINY[1:], "model=mdlm"],
    "safe_ar": ["data=safe", "+data.rows.source.size=300", *TINY[1:], "model=ar"],
    "unlabeled_ar": [*TINY, "label=none", "model=ar"],
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
    """The evaluator's configuration, small and quick by default."""
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


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[[str], Path]) -> Callable[..., Path]:
    """The folder of a tiny classifier for a tiny model, by the model's kind, its own, and the trainer's overrides."""
    resolvers.register()
    root = tmp_path_factory.mktemp("classifiers")
    made: dict[tuple[str, ...], Path] = {}

    def make(model: str, kind: str, *overrides: str) -> Path:
        key = (model, kind, *overrides)
        if key not in made:
            small = [] if kind == "hidden" else ["backbone.hidden_size=16", "backbone.num_blocks=1"]
            task = [f"task={kind}_classifier", f"generator={checkpoint(model)}"]
            config = composed("trainer", [*task, *small, *overrides])
            made[key] = train_classifier(config, checkpoint(model), root / str(len(made)) / "classifier")
        return made[key]

    return make


def train_classifier(config: DictConfig, folder: Path, directory: Path) -> Path:
    generator = load(folder)
    view = instantiate(config.task.view)(generator)
    data, target = load_data(config, generator)
    torch.manual_seed(0)
    made = build_classifier(config, generator, folder, view, target)
    optimizer = torch.optim.Adam(made.network.parameters(), lr=1e-2)
    noise = torch.Generator().manual_seed(0)
    batch = data.train[:64]
    for _ in range(30):
        seen = view(made.network, batch["input_ids"], generator=noise)
        answers = batch[target.column][:, None].expand_as(seen.levels)
        loss = target.loss(seen.outputs[seen.counted], answers[seen.counted]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return made.save(directory)


def train(config: DictConfig, directory: Path) -> Path:
    settings = OmegaConf.to_container(config.data, resolve=True)
    rule = instantiate(config.label) if config.label else None
    data = build_data(settings, tokenizer=instantiate(config.tokenizer), label=rule, length=None)
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
