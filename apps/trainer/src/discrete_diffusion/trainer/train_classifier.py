"""Training of a classifier for a generator from a configuration."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.checkpoints import Checkpoint, ClassifierCheckpoint, describe_generator, fetch, load
from discrete_diffusion.datasets import SequenceData, ValueLabel
from discrete_diffusion.guidance import Latent
from discrete_diffusion.trainer.classifier import Classifier
from discrete_diffusion.trainer.classifier_views import View
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
from discrete_diffusion.trainer.level_report import LevelReport
from discrete_diffusion.trainer.non_finite_steps import skip_non_finite
from discrete_diffusion.trainer.prediction_targets import Classes, Quantity, Target
from discrete_diffusion.trainer.run_folder import SETTINGS, short
from discrete_diffusion.trainer.stopping import Stop

GENERATORS_OWN = ("model", "schedule", "parameterization", "objective", "lift", "tokenizer")


def train_classifier(config: DictConfig, *, view: Callable[[Checkpoint], View]) -> ClassifierCheckpoint:
    """Load the generator and its data, train, and save a classifier in the run folder.

    Args:
        config: Composed configuration.
        view: Function from the generator to the view of a sequence that the classifier reads.
    """
    with TrainingRun(config) as run:
        refuse(run.config)
        return _train(run.config, run, view)


def _train(config: DictConfig, run: TrainingRun, view: Callable[[Checkpoint], View]) -> ClassifierCheckpoint:
    L.seed_everything(config.seed, verbose=False)
    folder = fetch(config.generator)
    run.fix("generator", str(folder))
    generator = load(folder, trust_remote_code=config.trust_remote_code)
    shown = view(generator)
    data, target = load_data(config, generator)
    about = describe_generator(generator)
    noise = "left to right" if about["process"] is None else f"{about['process']}, {about['schedule']}"
    run.print(f"A {shown.kind} {_kind_of(target)} for the generator {short(folder.absolute())} ({noise}).")
    answers = torch.as_tensor(data.rows[target.column][:])
    print_row_report(run, data)
    run.print(f"{describe_sequences(data)}; {target.describe(answers)}.")

    checkpoint = build_classifier(config, generator, folder, shown, target)
    generator.network.requires_grad_(False)
    module = Classifier(
        checkpoint.network,
        shown,
        target,
        augment=data.augment,
        optimizer=instantiate(config.optimizer),
        lr_scheduler=instantiate(config.lr_scheduler),
        draws=config.draws,
        seed=config.seed,
    )
    title = f"{shown.kind.capitalize()} {_kind_of(target)} by {(shown.levels or '').removesuffix(' t')}"
    shows = "" if module.draws == 1 else f", each seen {module.draws} times"
    note = f"{target.describe(answers)}   ·   {len(data.validation):,} validation sequences{shows}"
    report = LevelReport(run.directory, title=title, note=note)
    stop = Stop()
    trainer = build_trainer(config, run, stop, [skip_non_finite(config, run), report])
    batches = build_batches(config, data, run)
    generator.network.to(trainer.strategy.root_device)
    run.print(describe_training(trainer, checkpoint.network, config))
    if run.dry:
        dry_run(run, trainer, module, batches, stop, frozen=generator.network, answers=target.column)
        return checkpoint
    run.keep_settings()
    fit(trainer, module, batches, run, stop)
    if trainer.is_global_zero:
        where = checkpoint.save(run.directory / "classifier")
        run.print(_closing(run, where, folder, shown, report))
    return checkpoint


def build_classifier(
    config: DictConfig, generator: Checkpoint, folder: Path, view: View, target: Target
) -> ClassifierCheckpoint:
    """Build the untrained classifier, with the configuration that its folder stores."""
    about, image = describe_generator(generator), generator.config["data"].get("image")
    config.facts = {
        "vocab_size": len(generator.tokenizer),
        "length": generator.length,
        "image": image,
        "levels": (image or {}).get("levels"),
        "pad_id": generator.tokenizer.pad_token_id,
        "num_outputs": target.num_outputs,
        "hidden_size": _hidden_size(generator),
        "time_conditioning": about["time_conditioning"],
    }
    network = OmegaConf.to_container(config.backbone, resolve=True)
    denoiser = generator.config["model"]["denoiser"]
    described = {
        "network": network,
        "process": denoiser.get("process") if view.kind in ("noisy", "hidden") else None,
        "quantity": target.to_dict() if isinstance(target, Quantity) else None,
        "generator": {"path": str(short(folder.absolute())), **about},
    }
    label = target.label if isinstance(target, Classes) else None
    return ClassifierCheckpoint(described, instantiate(network), label, view.kind)


def load_data(config: DictConfig, generator: Checkpoint) -> tuple[SequenceData, Target]:
    """Load the data of the generator with the same split, without unlabeled rows, and the target column.

    Raises:
        ValueError: If no target or two targets are configured.
        FileNotFoundError: If the data file is missing.
    """
    column = config.regress
    if config.label and column is not None:
        raise ValueError(f"Expected either `label` or `regress`, got both: {column!r} is a number or a class.")
    label = instantiate(config.label) if config.label else generator.label
    if isinstance(label, ValueLabel):
        raise ValueError(
            f"Expected classes in `label`: `regress={label.columns[0]}` trains on the numbers of a column."
        )
    if label is None and column is None:
        raise ValueError(
            "Expected a `label` or a column to `regress`, for the generator was trained without classes: `label=qed`, "
            "`label=category label.column=NAME` or `regress=qed`, say."
        )
    label = None if column is not None else label
    data = replace(generator, label=label, values=None).data(config.data.path).labeled()
    if data.label is not None:
        return data, Classes(data.label)
    target = Quantity.of(column, data)
    columns = ["input_ids", column]
    train, validation = (part.with_format("torch", columns=columns) for part in (data.rows, data.validation))
    return replace(data, train=train, validation=validation), target


def refuse(config: DictConfig) -> None:
    """Reject options that a classifier takes from its generator.

    Raises:
        ValueError: If the configuration has one of these options.
    """
    chosen = [name for name in GENERATORS_OWN if config.get(name) is not None]
    if "rows" in config.data:
        chosen.append("data")
    if chosen:
        raise ValueError(
            f"Expected no `{chosen[0]}`, nor an experiment that chooses one: a classifier's is its generator's."
        )


def _hidden_size(generator: Checkpoint) -> int | None:
    """Return the width of the generator's hidden states, or None if it does not expose them."""
    denoiser = generator.denoiser()
    if not isinstance(denoiser, Latent):
        return None
    with torch.no_grad():
        return denoiser.encode(torch.zeros(1, generator.length, dtype=torch.long), torch.ones(1)).shape[-1]


def _kind_of(target: Target) -> str:
    return "regressor" if isinstance(target, Quantity) else "classifier"


def _closing(run: TrainingRun, classifier: Path, generator: Path, view: View, report: LevelReport) -> str:
    where = {"classifier": classifier, "metrics": run.directory / "metrics.csv"}
    if view.levels is not None:
        where |= {"by noise level": report.table, "": report.picture}
    where |= {
        "TensorBoard": run.directory / "tensorboard",
        "settings": run.directory / SETTINGS,
    }
    lines = [f"\nTrained in {run.took()}. Everything is in {run.directory}"]
    lines += [f"  {name:15}{path.relative_to(run.directory)}" for name, path in where.items()]
    if view.guidance is not None:
        command = f"uv run evaluator checkpoint={short(generator.absolute())} guidance={view.guidance}"
        lines += ["\nSteer the generator with it:", f"  [bold]{command}[/bold]"]
    return "\n".join(lines)
