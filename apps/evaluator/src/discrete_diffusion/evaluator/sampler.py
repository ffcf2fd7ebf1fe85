"""Sampler in the configuration."""

from dataclasses import replace

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.checkpoints import Checkpoint, with_steps
from discrete_diffusion.evaluator.supplied import supply
from discrete_diffusion.guidance import AncestralSampler, Sampler


def build_sampler(config: DictConfig, checkpoint: Checkpoint) -> Sampler:
    """Return the sampler of the configuration, by default the checkpoint's own with its steps and times.

    `process`, `steps` and `grid` are filled in wherever the settings of the sampler, or of a partial inside of it,
    leave them open as `???`: the process and the steps are those of the checkpoint unless `sampling.steps` is given.

    Raises:
        ValueError: If the model or the sampler has no steps or times and the configuration sets them, or if the model
            goes from left to right and the configuration has a sampler or times.
    """
    own = with_steps(checkpoint.sampler(), config.sampling.steps)
    settings = OmegaConf.to_container(config.sampler, resolve=True)
    assert isinstance(settings, dict)
    equal = config.grid._target_ == "discrete_diffusion.guidance.equal_times"
    if not isinstance(own, AncestralSampler):
        for name, chosen in (("sampler", settings["_target_"] is not None), ("grid", not equal)):
            if chosen:
                raise ValueError(f"Expected no `{name}`: this model is sampled from left to right.")
        return own
    grid = instantiate(config.grid)
    if settings["_target_"] is None:
        return own if equal else replace(own, grid=grid)
    sampler = instantiate(settings)
    sampler, _ = supply(sampler, settings, "process", own.process)
    sampler, takes_steps = supply(sampler, settings, "steps", own.steps)
    sampler, takes_grid = supply(sampler, settings, "grid", grid)
    for name, taken, chosen in (
        ("sampling.steps", takes_steps, config.sampling.steps is not None),
        ("grid", takes_grid, not equal),
    ):
        if chosen and not taken:
            raise ValueError(f"Expected no `{name}`: {sampler.func.__name__} chooses its own.")
    return sampler()
