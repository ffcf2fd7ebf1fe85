"""Types and ranges of the trainer's settings."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from omegaconf import DictConfig, OmegaConf
from pydantic import AfterValidator, Field

from discrete_diffusion.commandline.schema import (
    Count,
    Natural,
    NonNegative,
    OpenSettings,
    Positive,
    Seed,
    Settings,
    Share,
    Text,
    check_arguments,
    check_present,
    check_settings,
    check_targets,
)
from discrete_diffusion.trainer.launching import count_accumulated, expect_processes

Size = Annotated[int, Field(ge=1, le=2**20)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
PositiveShare = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
ExclusiveShare = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


def _devices(text: str) -> str:
    if text not in ("auto", "-1") and not re.fullmatch(r"\d+(,\d+)*,?", text):
        raise ValueError("auto or numbers of devices, such as 0,1")
    return text


def _inside_outputs(name: str) -> str:
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise ValueError("the name of a folder")
    return name


class Layout(OpenSettings):
    """Arguments of a layout."""

    special_tokens: bool | None = None


class Image(Settings):
    """Size of an image."""

    height: Annotated[int, Field(ge=1, le=4096)]
    width: Annotated[int, Field(ge=1, le=4096)]
    channels: Annotated[int, Field(ge=1, le=64)]
    levels: Annotated[int, Field(ge=2, le=65536)]


class Rows(OpenSettings):
    """Arguments of a source of rows."""

    size: Count | None = None
    chunk: Count | None = None
    seed: Natural | None = None


class Data(Settings):
    """Training data."""

    path: Text | list[Text] | None = None
    rows: Rows | None = None
    column: Text | None = None
    length: Annotated[int, Field(ge=1, le=2**20)] | None = None
    layout: Layout | None = None
    augment: dict[str, Any] | None = None
    allow_unknown: bool | None = None
    max_dropped: Share | None = None
    validation: Share | Count | None = None
    seed: Seed | None = None
    kind: Text | None = None
    image: Image | None = None


class Label(OpenSettings):
    """Rule of the classes, or numbers."""

    column: Text | Annotated[list[Text], Field(min_length=1)] | None = None
    percentile: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    max_classes: Count | None = None


class Backbone(OpenSettings):
    """Sizes of a network."""

    hidden_size: Size | None = None
    num_blocks: Annotated[int, Field(ge=1, le=4096)] | None = None
    num_heads: Size | None = None
    cond_size: Size | None = None
    mlp_size: Size | None = None
    state_size: Size | None = None
    conv_size: Size | None = None
    expand: Annotated[int, Field(ge=1, le=64)] | None = None
    num_res_blocks: Annotated[int, Field(ge=1, le=64)] | None = None
    hidden_channels: Size | None = None
    dropout: Fraction | None = None
    name_or_path: Text | None = None


class Optimizer(OpenSettings):
    """Arguments of an optimizer."""

    lr: Positive | None = None
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)] | None = None
    eps: NonNegative | None = None
    weight_decay: NonNegative | None = None
    momentum: Fraction | None = None
    matrices: Text | None = None
    muon: "Optimizer | None" = None
    adamw: "Optimizer | None" = None


class LearningRateSchedule(OpenSettings):
    """Arguments of a schedule of the learning rate."""

    num_warmup_steps: Natural | None = None
    num_training_steps: Count | None = None
    min_lr: NonNegative | None = None


class Preview(Settings):
    """Samples at each validation."""

    samples: Annotated[int, Field(ge=0, le=100_000)]


class LightningTrainer(OpenSettings):
    """Arguments of Lightning's trainer."""

    max_steps: Count
    accelerator: Text
    devices: Count | Annotated[str, AfterValidator(_devices)] | Annotated[list[Natural], Field(min_length=1)]
    num_nodes: Count | None = None
    precision: str | int | None = None
    accumulate_grad_batches: Annotated[int, Field(ge=1, le=2**20)]
    gradient_clip_val: NonNegative | None = None
    val_check_interval: Count | None = None
    check_val_every_n_epoch: Count | None = None
    limit_train_batches: Count | PositiveShare | None = None
    max_epochs: Count | Literal[-1] | None = None
    limit_val_batches: Natural | Share | None = None
    num_sanity_val_steps: Annotated[int, Field(ge=-1, le=10**9)] | None = None
    log_every_n_steps: Natural | None = None


class Callback(OpenSettings):
    """Arguments of a callback."""

    decay: Share | None = None
    every_n_train_steps: Count | None = None
    every_n_minutes: Positive | None = None
    refresh_rate: Natural | None = None
    save_top_k: Annotated[int, Field(ge=-1, le=10**9)] | None = None


class TrainerSettings(Settings):
    """Every setting of the trainer; `check_targets` checks what else a class takes that the settings name."""

    name: Annotated[Text, AfterValidator(_inside_outputs)]
    task: dict[str, Any]
    data: Data
    label: Label | None = None
    tokenizer: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    schedule: dict[str, Any] | None = None
    parameterization: dict[str, Any] | None = None
    objective: dict[str, Any] | None = None
    lift: dict[str, Any] | None = None
    optimizer: Optimizer
    backbone: Backbone
    lr_scheduler: LearningRateSchedule
    callbacks: dict[str, Callback | None]
    logger: dict[str, dict[str, Any] | None]
    score: dict[str, Any] | None = None
    picture: dict[str, Any] | None = None
    generator: Text | None = None
    regress: Text | None = None
    draws: Annotated[int, Field(ge=1, le=2**20)] | None = None
    label_dropout: Share | None = None
    seed: Seed
    resume: Text | None
    initial: Text | None
    trust_remote_code: bool
    dry_run: bool = False  # absent from runs of version 0.1
    steps: Count
    batch_size: Annotated[int, Field(ge=1, le=2**17)]
    global_batch_size: Annotated[int, Field(ge=1, le=2**30)] | None = None
    validate_every: Count
    num_workers: Annotated[int, Field(ge=0, le=1024)]
    max_skipped_steps: Natural
    sampling_steps: Annotated[int, Field(ge=1, le=2**20)]
    preview: Preview
    trainer: LightningTrainer
    facts: None  # filled in at run time


def check_run(config: DictConfig) -> None:
    """Check the settings of a run, and the arguments of the classes that they name, before anything is built.

    Raises:
        ValueError: For the first that is unknown, missing, of another type or out of range.
    """
    import lightning as L

    check_settings(config, TrainerSettings)
    check_present(config)
    _check_devices(config)
    expect_processes(config)
    count_accumulated(config)
    options = cast(dict[str, Any], OmegaConf.to_container(config.trainer, resolve=True))
    check_arguments(L.Trainer, options, "trainer")
    check_targets(config)


def _check_devices(config: DictConfig) -> None:
    devices, cores = config.trainer.devices, os.cpu_count() or 1
    if config.trainer.accelerator == "cpu" and str(config.trainer.precision).startswith("16"):
        raise ValueError(
            f"Expected `trainer.precision` of 32-true or bf16-mixed on a CPU, got {config.trainer.precision}."
        )
    if config.trainer.accelerator == "cpu" and isinstance(devices, int) and devices > max(2, cores):
        raise ValueError(f"Expected `trainer.devices` <= {max(2, cores)} on this CPU, got {devices}.")
