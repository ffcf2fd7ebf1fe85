"""Train a generator from a configuration."""

import logging
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from discrete_diffusion.datasets import LabelRule, SequenceData
from discrete_diffusion.trainer.batches import DataModule
from discrete_diffusion.trainer.checkpoint import Checkpoint
from discrete_diffusion.trainer.data import build_data
from discrete_diffusion.trainer.generator import Generator
from discrete_diffusion.trainer.preview import Preview

ADVICE = (
    ".*does not have many workers.*",
    ".*dataloader is not resumable.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*Experiment logs directory .* exists and is not empty.*",
    ".*The dirpath has changed from .*",
    ".*LeafSpec.*",
    ".*smaller than the logging interval.*",
)


def train(config: DictConfig) -> Checkpoint:
    """Load the data, train, and leave a checkpoint in the run's folder."""
    started, console = time.monotonic(), Console(highlight=False, soft_wrap=True)
    quiet()
    directory = _short(Path(HydraConfig.get().runtime.output_dir))
    resume = config.resume
    if resume is not None:
        config = _resumed(resume, list(HydraConfig.get().overrides.task))
    L.seed_everything(config.seed, verbose=False)

    settings = cast(dict[str, Any], OmegaConf.to_container(config.data, resolve=True))
    data = build_data(
        settings, tokenizer=instantiate(config.tokenizer), label=_label(config.label), length=config.data.length
    )
    console.print(_describe(data))
    checkpoint = build_checkpoint(config, settings, data)
    module = Generator(
        checkpoint.network,
        instantiate(checkpoint.config["model"]["denoiser"]),
        checkpoint.objective(),
        null_label=None if data.label is None else data.label.num_classes,
        label_dropout=config.label_dropout,
        optimizer=instantiate(config.optimizer),
        lr_scheduler=instantiate(config.lr_scheduler),
        seed=config.seed,
    )
    labels = None if data.label is None else torch.as_tensor(data.train.with_format(None)["label"][:])
    preview = Preview(checkpoint, labels, directory / "samples", score=instantiate(config.score))
    trainer = L.Trainer(
        **instantiate(config.trainer),
        default_root_dir=directory,
        callbacks=[*instantiate(config.callbacks).values(), preview],
        logger=list(instantiate(config.logger).values()),
        use_distributed_sampler=False,
        enable_model_summary=False,
    )
    size = sum(parameter.numel() for parameter in checkpoint.network.parameters())
    device = trainer.strategy.root_device
    console.print(f"Training {size:,} parameters for {config.steps:,} steps on {device}.")
    modules = DataModule(
        data, batch_size=config.batch_size, steps=config.steps, seed=config.seed, num_workers=config.num_workers
    )
    try:
        trainer.fit(module, modules, ckpt_path=resume, weights_only=True)
    except SystemExit:
        # Lightning's answer to Ctrl-C, after the callbacks have saved what there is
        console.print(f"\nStopped at step {trainer.global_step}. Go on with:")
        saved = directory / "checkpoints" / "last.ckpt"
        console.print(f"  [bold]uv run trainer resume={saved}[/bold]")
        raise KeyboardInterrupt from None
    where = checkpoint.save(directory / "checkpoint")
    if trainer.is_global_zero:
        console.print(_closing(directory, where, time.monotonic() - started))
    return checkpoint


def build_checkpoint(config: DictConfig, settings: Mapping[str, Any], data: SequenceData) -> Checkpoint:
    """The untrained model, with everything of the configuration that its checkpoint will remember."""
    tokenizer = data.tokenizer
    tokens = data.train["input_ids"][:]
    vocab_size = len(tokenizer)
    config.facts = {
        "vocab_size": vocab_size,
        "length": data.length,
        "bos_id": tokenizer.bos_token_id,
        "mask_id": tokenizer.mask_token_id,
        "num_classes": None if data.label is None else data.label.num_classes,
        # each token once more than it occurs: noise must be able to produce every one
        "marginals": ((tokens.flatten().bincount(minlength=vocab_size) + 1.0) / (tokens.numel() + vocab_size)).tolist(),
    }
    remembered = {name: OmegaConf.to_container(config[name], resolve=True) for name in ("model", "backbone")}
    label = None if data.label is None else data.label.to_dict()
    described = {**remembered, "data": dict(settings), "length": data.length, "label": label}
    return Checkpoint(described, instantiate(remembered["backbone"]), tokenizer, data.label)


def quiet() -> None:
    """Keep the libraries' advertisements and advice to themselves, and what a person needs on the screen."""
    for name in ("lightning.pytorch", "lightning.fabric", "datasets", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in ADVICE:
        warnings.filterwarnings("ignore", message)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _label(config: DictConfig) -> LabelRule | None:
    return instantiate(config) if config else None


def _resumed(path: str, overrides: list[str]) -> DictConfig:
    """The configuration of the run that is gone on with, and what the command line changes in it."""
    run = _short(Path(path).resolve().parents[1])
    if not Path(path).is_file():
        raise FileNotFoundError(f"Nothing to resume at {path}: expected a file such as RUN/checkpoints/last.ckpt.")
    config = OmegaConf.load(run / ".hydra" / "config.yaml")
    assert isinstance(config, DictConfig)
    for name, _, value in (override.partition("=") for override in overrides):
        if isinstance(OmegaConf.select(config, name), DictConfig):
            raise ValueError(
                f"Expected plain values beside `resume`, got `{name}={value}`: {run} has its groups chosen."
            )
    config.merge_with(OmegaConf.from_dotlist(overrides))
    return config


def _describe(data: SequenceData) -> str:
    said = f"{len(data.train):,} training and {len(data.validation):,} validation sequences of {data.length} tokens, "
    said += f"{len(data.tokenizer)} symbols"
    if data.label is not None:
        ids = torch.as_tensor(data.train.with_format(None)["label"][:])
        shares = (ids.bincount(minlength=data.label.num_classes) / len(ids)).tolist()
        named = zip(data.label.class_names, shares, strict=True)
        said += "; " + ", ".join(f"{name}: {share:.0%}" for name, share in list(named)[:6])
    return said + "."


def _closing(directory: Path, checkpoint: Path, seconds: float) -> str:
    where = {
        "checkpoint": checkpoint,
        "samples": directory / "samples",
        "metrics": directory / "metrics.csv",
        "TensorBoard": directory / "tensorboard",
        "configuration": directory / ".hydra" / "config.yaml",
        "to go on with": directory / "checkpoints" / "last.ckpt",
    }
    minutes, rest = divmod(round(seconds), 60)
    lines = [f"\nTrained in {minutes} min {rest} s. Everything is in {directory}"]
    lines += [f"  {name:15}{path.relative_to(directory)}" for name, path in where.items()]
    lines += ["\nMeasure and steer it:", f"  [bold]uv run evaluator checkpoint={checkpoint}[/bold]"]
    return "\n".join(lines)
