"""Settings of a resumed run."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from discrete_diffusion.checkpoints import TARGETS, UntrustedTargetError, expect_trusted
from discrete_diffusion.trainer.run_folder import SETTINGS, run_of, settings_of

_OPTIMIZERS = (
    *("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam", "RMSprop"),
    *("Rprop", "SGD"),
)
_LR_SCHEDULES = (
    "get_constant_schedule",
    "get_constant_schedule_with_warmup",
    "get_cosine_schedule_with_warmup",
    "get_cosine_with_hard_restarts_schedule_with_warmup",
    "get_cosine_with_min_lr_schedule_with_warmup",
    "get_inverse_sqrt_schedule",
    "get_linear_schedule_with_warmup",
    "get_polynomial_decay_schedule_with_warmup",
    "get_wsd_schedule",
)
OPTIMIZERS = frozenset(
    {
        "discrete_diffusion.trainer.muon.Muon",
        "discrete_diffusion.trainer.muon_adamw.MuonAdamW",
        *(f"torch.optim.{name}" for name in _OPTIMIZERS),
    }
)
CALLBACKS = frozenset(
    {
        "discrete_diffusion.trainer.checkpointing.Checkpoints",
        "discrete_diffusion.trainer.weight_average.EMA",
        "discrete_diffusion.trainer.weight_average.WarmupEMA",
        "lightning.pytorch.callbacks.EMAWeightAveraging",
        "lightning.pytorch.callbacks.EarlyStopping",
        "lightning.pytorch.callbacks.LearningRateMonitor",
        "lightning.pytorch.callbacks.TQDMProgressBar",
    }
)
LOGGERS = {
    "lightning.pytorch.loggers.CSVLogger": {"save_dir", "name", "version", "flush_logs_every_n_steps"},
    "lightning.pytorch.loggers.TensorBoardLogger": {"save_dir", "name", "version"},
    "lightning.pytorch.loggers.WandbLogger": {"save_dir", "name", "project", "offline", "tags", "group", "notes"},
}
"""Arguments allowed for each logger: others choose the server that receives the metrics and the user's key."""

INTERPOLATION = re.compile(r"\$\{(?:device:|hydra:runtime\.output_dir|now:[^${}]*|[\w.]+)\}")
"""Interpolations allowed in a run's configuration: other resolvers can write targets that no check sees."""


FIXED = (
    *("backbone", "data", "generator", "initial", "label", "lift", "model", "objective", "parameterization", "regress"),
    *("schedule", "task", "tokenizer"),
)
"""Settings that a resumed run cannot change: its weights belong to them."""
MOVABLE = ("data.path",)
"""Locations below `FIXED`, which a resumed run can change."""

TRAINER = "discrete_diffusion.trainer"
MOVED = {
    f"{TRAINER}.last_step.Checkpoints": f"{TRAINER}.checkpointing.Checkpoints",
    **{f"{TRAINER}.scores.{name}": f"{TRAINER}.preview_scores.{name}" for name in ("distinct", "molecule_validity")},
    **{
        f"{TRAINER}.views.{name}": f"{TRAINER}.classifier_views.{name}"
        for name in ("clean", "hidden", "noisy", "prefixes")
    },
}
"""Current target of each target that has moved since a run saved its settings."""


class ResumedRun(NamedTuple):
    """Settings of a run that is resumed.

    Attributes:
        folder: Folder of the run.
        settings: Settings in the folder of the run.
        config: Settings of the run with the changes of the command line.
        changes: Each change, as "NAME OLD -> NEW".
    """

    folder: Path
    settings: DictConfig
    config: DictConfig
    changes: list[str]


def read_run(path: str, overrides: Sequence[str], *, trust_remote_code: bool) -> ResumedRun:
    """Load the settings of a run, with the changes of the command line.

    Args:
        path: Folder of the run, or one of its checkpoints.
        overrides: Settings of the command line. They are trusted.
        trust_remote_code: Build classes outside the closed lists.

    Raises:
        FileNotFoundError: If there is no run.
        UntrustedTargetError: If the settings name code outside the closed lists and `trust_remote_code` is false.
        ValueError: If the settings cannot be read, or the command line changes a fixed setting.
    """
    if not Path(path).exists():
        raise FileNotFoundError(
            f"Nothing to resume at {path}: expected a run folder, or a file such as RUN/checkpoints/last.ckpt."
        )
    run = run_of(path)
    file = settings_of(run)
    if not file.is_file():
        raise FileNotFoundError(f"Nothing to resume at {path}: {run} has no {SETTINGS}.")
    settings = OmegaConf.load(file)
    if not isinstance(settings, DictConfig):
        raise ValueError(f"Expected the settings of a run in {file}.")
    _rename_moved(settings)
    if not trust_remote_code:
        _expect_trusted_run(settings, file)
    config = deepcopy(settings)
    changes = [change for override in _parsed(overrides) if (change := _apply(override, config, run)) is not None]
    located = _located(settings, run)
    if located is not None and config.data.path == settings.data.path:
        changes.append(f"data.path {settings.data.path} -> {located}")
        config.data.path = located
    return ResumedRun(run, settings, config, changes)


def _located(settings: DictConfig, run: Path) -> str | list[str] | None:
    """Return where the data of a relative path are above the folder of the run, None if the path leads there."""
    # It takes seconds to import, and a wrong setting should not wait for it.
    from discrete_diffusion.datasets import locate_files

    raw: Any = OmegaConf.to_container(settings, resolve=False)
    path: Any = raw["data"].get("path") if isinstance(raw.get("data"), Mapping) else None
    names = path if isinstance(path, list) else [path]
    if not all(isinstance(name, str) and "${" not in name for name in names):
        return None
    found: Any = locate_files(path, run.absolute().parents)
    return None if found in (path, locate_files(path, [Path.cwd()])) else found


def _rename_moved(node: Any) -> None:
    """Replace targets that have moved, in place."""
    if not isinstance(node, DictConfig):
        return
    for name, child in node.items_ex(resolve=False):
        if name == "_target_" and isinstance(child, str):
            node[name] = MOVED.get(child, child)
        _rename_moved(child)


def _parsed(overrides: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(overrides))


def _apply(override: Override, config: DictConfig, run: Path) -> str | None:
    """Apply one override, and return the change that it makes.

    Raises:
        ValueError: If the setting is unknown, is a group, or is fixed for a resumed run.
    """
    name, text = override.key_or_group, (override.input_line or "").lstrip("+")
    if name in ("dry_run", "resume", "trust_remote_code"):
        return None
    before = OmegaConf.select(config, name, default=None)
    after = override.value()
    if override.is_delete() or isinstance(before, DictConfig) or name == "experiment":
        raise ValueError(f"Expected plain values beside `resume`, got `{text}`: {run} has its groups chosen.")
    if before == after and not override.is_add():
        return None
    # Data that come from no file have not moved.
    movable = name in MOVABLE and before is not None
    if name.partition(".")[0] in FIXED and not movable:
        was = f", which is {before!r:.80} in {run}" if before is not None else ""
        raise ValueError(f"Expected no `{text}` beside `resume`: a resumed run cannot change `{name}`{was}.")
    if not movable and not override.is_add() and name not in _names(config):
        raise ValueError(f"Unknown setting {name}: {run} has none of this name.")
    OmegaConf.update(config, name, after, merge=False, force_add=True)
    return f"{name} {before} -> {after}"


def _names(config: DictConfig) -> set[str]:
    raw = OmegaConf.to_container(config, resolve=False)
    names: set[str] = set()

    def collect(node: Any, above: str) -> None:
        for key, child in node.items() if isinstance(node, Mapping) else ():
            names.add(f"{above}{key}")
            collect(child, f"{above}{key}.")

    collect(raw, "")
    return names


def _expect_trusted_run(config: DictConfig, file: Path) -> None:
    raw: Any = OmegaConf.to_container(config, resolve=False)
    for text in _strings(raw):
        if "${" in INTERPOLATION.sub("", text):
            raise UntrustedTargetError("", text, file, f"computes a setting ({text})")
    groups = [(name, raw[name]) for name in ("callbacks", "logger") if raw.get(name) is not None]
    for _, group in groups:
        entries = group.values() if isinstance(group, Mapping) and "_target_" not in group else [None]
        if not all(isinstance(node, Mapping) and "_target_" in node for node in entries):
            raise UntrustedTargetError(
                "callbacks", str(group), file, "has `callbacks` or `logger` without named entries"
            )
    # The name of each callback and logger is free, so their lists stand under the names that this file gives them.
    allowed = {
        **TARGETS,
        "adamw": OPTIMIZERS,
        "lr_scheduler": frozenset(f"transformers.{name}" for name in _LR_SCHEDULES),
        "muon": OPTIMIZERS,
        "optimizer": OPTIMIZERS,
        "picture": frozenset({"discrete_diffusion.trainer.pictures.image_samples"}),
        "score": frozenset(f"{TRAINER}.preview_scores.{name}" for name in ("distinct", "molecule_validity")),
        "task": frozenset(
            {
                "discrete_diffusion.trainer.train.train",
                "discrete_diffusion.trainer.train_classifier.train_classifier",
            }
        ),
        "view": frozenset(
            f"discrete_diffusion.trainer.classifier_views.{name}" for name in ("clean", "hidden", "noisy", "prefixes")
        ),
    }
    rest = {name: child for name, child in raw.items() if name not in ("callbacks", "logger")}
    expect_trusted(rest, where=file, targets=allowed)
    for name, group in groups:
        targets = CALLBACKS if name == "callbacks" else frozenset(LOGGERS)
        for node in group.values():
            expect_trusted({name: node}, where=file, targets={name: targets})
            unknown = set(map(str, node)) - LOGGERS[node["_target_"]] - {"_target_"} if name == "logger" else ()
            for argument in sorted(unknown):
                raise UntrustedTargetError(name, node["_target_"], file, f"sets `{argument}` of `{node['_target_']}`")
        _expect_paths_inside(config, name, file)


def _expect_paths_inside(config: DictConfig, group: str, file: Path) -> None:
    """Check that resolved names of files and folders stay inside the run's folder.

    Raises:
        UntrustedTargetError: If a name leads out of the folder.
        ValueError: If an interpolation cannot be resolved.
    """
    folder = os.path.abspath(HydraConfig.get().runtime.output_dir)  # noqa: PTH100, nothing is looked up
    try:
        found = list(_strings(OmegaConf.to_container(config[group], resolve=True)))
    except OmegaConfBaseException as error:
        raise ValueError(f"The settings `{group}` in {file} cannot be read: {error}") from error
    for text in found:
        place = os.path.normpath(os.path.join(folder, text))  # noqa: PTH118, an absolute text replaces the folder
        elsewhere = os.path.commonpath([folder, place]) != folder or ".." in Path(text).parts
        # Loggers expand these, and fsspec reads a protocol in front of a path.
        if elsewhere or text.startswith("~") or any(mark in text for mark in ("$", "://", "::")):
            raise UntrustedTargetError(group, text, file, f"has `{group}` write to {text}")


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from _strings(name)
            yield from _strings(child)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _strings(child)
    elif isinstance(node, str):
        yield node
