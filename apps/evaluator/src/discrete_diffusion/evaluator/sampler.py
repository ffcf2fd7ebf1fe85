"""Samplers in the configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.checkpoints import Checkpoint, with_steps
from discrete_diffusion.evaluator.supplied import supply
from discrete_diffusion.guidance import AncestralSampler, MaskingNoise, Sampler, TimeGrid, equal_times

NOISE = ("any", "masks", "unmasked")


@dataclass(frozen=True)
class SamplerSetting:
    """One sampler of a comparison, at one value of the setting that changes.

    Attributes:
        name: Name of the sampler, for people.
        setting: The setting and its value, as in "steps=32" or "k=2"; "" if none changes.
        steps: The number of steps; None if the sampler chooses its own.
        sampler: The sampler.
    """

    name: str
    setting: str
    steps: int | None
    sampler: Sampler


def build_grid(config: DictConfig, checkpoint: Checkpoint, report: Callable[[str], None]) -> TimeGrid | None:
    """Return the times of the configuration, None for the model's own.

    Args:
        config: The configuration.
        checkpoint: The model, which is evaluated if the times are fitted to it.
        report: Called with a line before the times are fitted.

    Raises:
        ValueError: If the model goes from left to right and the configuration has times, a setting is out of range, or
            the target is no function.
    """
    settings = OmegaConf.to_container(config.grid, resolve=True)
    assert isinstance(settings, dict)
    if settings["_target_"] == "discrete_diffusion.guidance.equal_times":
        return None
    if not isinstance(checkpoint.sampler(), AncestralSampler):
        raise ValueError("Expected no `grid`: this model is sampled from left to right.")
    built = instantiate(settings)
    if not callable(built):
        raise ValueError(f"Expected a function from a number of steps to times as `grid`, got {built!r:.80}.")
    grid, fits = supply(built, settings, "checkpoint", checkpoint)
    if not fits:
        return grid
    report("Fitting the times of the steps to samples of the model ...")
    return grid()


def build_sampler(config: DictConfig, checkpoint: Checkpoint, grid: TimeGrid | None) -> Sampler:
    """Return the sampler of the configuration, by default the checkpoint's own with its steps and times.

    `process`, `steps` and `grid` are filled in wherever the settings of the sampler, or of a partial inside of it,
    leave them open as `???`: the process and the steps are those of the checkpoint unless `sampling.steps` is given.

    Raises:
        ValueError: If the model or the sampler has no steps or times and the configuration sets them, or if the model
            goes from left to right and the configuration has a sampler.
    """
    own = with_steps(checkpoint.sampler(), config.sampling.steps)
    settings = OmegaConf.to_container(config.sampler, resolve=True)
    assert isinstance(settings, dict)
    if not isinstance(own, AncestralSampler):
        if settings["_target_"] is not None:
            raise ValueError("Expected no `sampler`: this model is sampled from left to right.")
        return own
    if settings["_target_"] is None:
        return own if grid is None else replace(own, grid=grid)
    sampler = instantiate(settings)
    sampler, _ = supply(sampler, settings, "process", own.process)
    sampler, takes_steps = supply(sampler, settings, "steps", own.steps)
    sampler, takes_grid = supply(sampler, settings, "grid", grid or equal_times)
    for name, taken, chosen in (
        ("sampling.steps", takes_steps, config.sampling.steps is not None),
        ("grid", takes_grid, grid is not None),
    ):
        if chosen and not taken:
            raise ValueError(f"Expected no `{name}`: {sampler.func.__name__} chooses its own.")
    return sampler()


def read_samplers(config: DictConfig, checkpoint: Checkpoint, grid: TimeGrid | None) -> list[SamplerSetting]:
    """Return the samplers under `samplers` that are defined for the model's noise, at each value of their settings.

    `sampling.steps` replaces the numbers of steps of every sampler.

    Raises:
        ValueError: If the model goes from left to right, an entry is malformed, or none is for the model's noise.
    """
    own = checkpoint.sampler()
    if not isinstance(own, AncestralSampler):
        raise ValueError("Expected no `samplers`: this model is sampled from left to right.")
    if config.sampler._target_ is not None:
        raise ValueError("Expected no `sampler` beside `samplers`: each of them has its own.")
    noise = "masks" if isinstance(own.process, MaskingNoise) else "unmasked"
    settings: Any = OmegaConf.to_container(config.samplers)
    found = [
        setting
        for key, row in settings.items()
        if _checked(key, row)["for"] in ("any", noise)
        for setting in _at_each_value(config, checkpoint, grid, key.replace("_", " "), row)
    ]
    if not found:
        raise ValueError(f"Expected one of `samplers` to be for {noise} noise, got {', '.join(settings)}.")
    return found


def _checked(key: str, row: Any) -> Mapping[str, Any]:
    """Return `row` if it has the keys of a sampler under comparison.

    Raises:
        ValueError: If it has not.
    """
    if not isinstance(row, dict) or row.keys() != {"sampler", "for", "vary"}:
        raise ValueError(f"Expected `sampler`, `for` and `vary` under `samplers.{key}`, got {row}.")
    if row["for"] not in NOISE:
        raise ValueError(f"Expected `samplers.{key}.for` to be one of {', '.join(NOISE)}, got {row['for']}.")
    if not isinstance(row["vary"], dict) or len(row["vary"]) > 1:
        raise ValueError(f"Expected at most one setting under `samplers.{key}.vary`, got {row['vary']}.")
    return row


def _at_each_value(
    config: DictConfig, checkpoint: Checkpoint, grid: TimeGrid | None, name: str, row: Mapping[str, Any]
) -> list[SamplerSetting]:
    found = []
    steps = config.sampling.steps
    for key, values in row["vary"].items() or [("", [None])]:
        for value in [steps] if key == "steps" and steps is not None else values:
            one = OmegaConf.create(
                {"sampler": row["sampler"], "sampling": {"steps": value if key == "steps" else None}}
            )
            if key not in ("", "steps"):
                OmegaConf.update(one, f"sampler.{key}", value)
            setting = f"{key.rpartition('.')[2]}={value:g}" if key else ""
            sampler = build_sampler(one, checkpoint, grid)
            found.append(SamplerSetting(name, setting, value if key == "steps" else None, sampler))
    return found
