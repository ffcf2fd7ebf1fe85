"""Training of a generator from a configuration."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.markup import escape
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.checkpoints import Checkpoint, build_data
from discrete_diffusion.datasets import FittedValueLabel, LabelRule, SequenceData, ValueLabel
from discrete_diffusion.processes import NetworkTraits
from discrete_diffusion.trainer.dry_run import dry_run
from discrete_diffusion.trainer.fitting import (
    TrainingRun,
    build_batches,
    build_trainer,
    describe_sequences,
    describe_training,
    fit,
    print_row_report,
)
from discrete_diffusion.trainer.generator import Generator
from discrete_diffusion.trainer.initialization import continued, initial_checkpoint
from discrete_diffusion.trainer.non_finite_steps import skip_non_finite
from discrete_diffusion.trainer.prediction_targets import Classes
from discrete_diffusion.trainer.preview import Preview
from discrete_diffusion.trainer.run_folder import SETTINGS
from discrete_diffusion.trainer.stopping import Stop

COUNTED = 100_000
"""Number of training sequences whose tokens are counted for marginal noise."""


def train(config: DictConfig) -> Checkpoint:
    """Load the data, train, and save a checkpoint in the run folder."""
    with TrainingRun(config) as run:
        return _train(run.config, run)


def _train(config: DictConfig, run: TrainingRun) -> Checkpoint:
    L.seed_everything(config.seed, verbose=False)

    settings = cast(dict[str, Any], OmegaConf.to_container(config.data, resolve=True))
    initial = initial_checkpoint(config, [] if run.checkpoint else run.overrides)
    data = build_data(
        settings,
        tokenizer=instantiate(config.tokenizer) if initial is None else initial.tokenizer,
        label=_label(config.label, initial),
        length=config.data.length if initial is None else config.data.length or initial.length,
    )
    if settings["column"] != data.column:
        run.print(escape(f"Training on the column {data.column!r}."))
    print_row_report(run, data)
    run.print(_describe(data))
    checkpoint = build_checkpoint(config, settings, data) if initial is None else continued(initial, settings, data)
    # Without drawing: wrong settings of the sampler would otherwise be found in the first preview.
    checkpoint.sampler()(checkpoint.denoiser(), (1, checkpoint.length))
    module = Generator(
        checkpoint.network,
        checkpoint.denoiser,
        checkpoint.objective(),
        augment=data.augment,
        null_label=None if data.label is None else data.label.num_classes,
        label_dropout=config.label_dropout,
        optimizer=instantiate(config.optimizer),
        lr_scheduler=instantiate(config.lr_scheduler),
        seed=config.seed,
    )
    stop = Stop()
    preview = Preview(
        checkpoint,
        data.labels,
        run.directory / "samples",
        stop,
        score=instantiate(config.score),
        picture=instantiate(config.get("picture")),
        samples=config.preview.samples,
    )
    trainer = build_trainer(config, run, stop, [skip_non_finite(config, run), preview])
    batches = build_batches(config, data, run)
    run.print(describe_training(trainer, checkpoint.network, config))
    if run.dry:
        dry_run(run, trainer, module, batches, stop, preview=preview)
        return checkpoint
    run.keep_settings()
    fit(trainer, module, batches, run, stop)
    if trainer.is_global_zero:
        where = checkpoint.save(run.directory / "checkpoint")
        run.print(_closing(run, where, checkpoint.values))
    return checkpoint


def build_checkpoint(config: DictConfig, settings: Mapping[str, Any], data: SequenceData) -> Checkpoint:
    """Build the untrained model, with the configuration that its checkpoint stores.

    Raises:
        ValueError: If the network reads in the wrong direction or takes another number of conditioning values.
    """
    tokenizer = with_token(data.tokenizer, config.model.needs)
    tokens = data.examples(COUNTED)["input_ids"][:]
    vocab_size = len(tokenizer)
    config.facts = {
        "vocab_size": vocab_size,
        "length": data.length,
        "bos_id": tokenizer.bos_token_id,
        "mask_id": tokenizer.mask_token_id,
        "num_classes": None if data.label is None else data.label.num_classes,
        "num_values": None if data.values is None else len(data.values.columns),
        "image": settings.get("image"),
        "levels": (settings.get("image") or {}).get("levels"),
        # Add one to every count, because noise must be able to produce every token.
        "marginals": ((tokens.flatten().bincount(minlength=vocab_size) + 1.0) / (tokens.numel() + vocab_size)).tolist(),
    }
    remembered = {name: OmegaConf.to_container(config[name], resolve=True) for name in ("model", "backbone")}
    label = data.values or data.label
    network = instantiate(remembered["backbone"])
    traits = NetworkTraits.of(network)
    if traits.causal != config.model.causal:
        reads = "from left to right" if config.model.causal else "in both directions"
        raise ValueError(
            f"Expected a network that reads {reads} for this model, got {type(network).__name__}: choose another "
            "`backbone`."
        )
    if data.values is not None and traits.num_values != len(data.values.columns):
        raise ValueError(
            f"Expected a network that is conditional on {len(data.values.columns)} numbers, got "
            f"{type(network).__name__}: choose another `backbone`."
        )
    # A network loaded from a folder provides a configuration that does not need the folder.
    remembered["backbone"] = traits.blueprint or remembered["backbone"]
    described = {**remembered, "data": {**settings, "length": data.length}, "length": data.length}
    described["label"] = None if label is None else label.to_dict()
    return Checkpoint(described, network, tokenizer, data.label, values=data.values)


def with_token(tokenizer: PreTrainedTokenizerBase, needed: str | None) -> PreTrainedTokenizerBase:
    """Return the tokenizer with the special token `needed`, such as "mask_token"."""
    if needed is None or getattr(tokenizer, needed) is not None:
        return tokenizer
    tokenizer = deepcopy(tokenizer)
    tokenizer.add_special_tokens({needed: f"<{needed.removesuffix('_token')}>"})
    return tokenizer


def _label(config: DictConfig, initial: Checkpoint | None) -> LabelRule | ValueLabel | FittedValueLabel | None:
    label = instantiate(config) if config else None
    if isinstance(label, ValueLabel) and initial is not None and initial.values is not None:
        # The network to start from knows numbers in its own units.
        return initial.values if initial.values.columns == label.columns else label
    return label


def _describe(data: SequenceData) -> str:
    description = describe_sequences(data)
    if data.label is not None and data.labels is not None:
        description += "; " + Classes(data.label).describe(data.labels)
    if data.values is not None:
        each = zip(data.values.columns, data.values.means, data.values.stds, strict=True)
        description += "; " + ", ".join(f"{column}: {mean:.3g} ± {std:.3g}" for column, mean, std in each)
    return description + "."


def _closing(run: TrainingRun, checkpoint: Path, values: FittedValueLabel | None) -> str:
    directory = run.directory
    where = {
        "checkpoint": checkpoint,
        "samples": directory / "samples",
        "metrics": directory / "metrics.csv",
        "TensorBoard": directory / "tensorboard",
        "settings": directory / SETTINGS,
        "to resume": directory / "checkpoints" / "last.ckpt",
    }
    lines = [f"\nTrained in {run.took()}. Everything is in {directory}"]
    lines += [f"  {name:15}{path.relative_to(directory)}" for name, path in where.items() if path.exists()]
    command = f"uv run evaluator checkpoint={checkpoint}"
    if values is not None:
        high = (f"{mean + std:.3g}" for mean, std in zip(values.means, values.stds, strict=True))
        command += f" label=[{','.join(high)}]"
    lines += ["\nMeasure and steer it:", f"  [bold]{escape(command)}[/bold]"]
    return "\n".join(lines)
