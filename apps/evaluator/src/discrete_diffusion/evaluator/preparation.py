"""From the configuration and a checkpoint to what will be run: points, methods, classifiers, reward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from discrete_diffusion.checkpoints import Checkpoint, with_steps
from discrete_diffusion.evaluator.classifiers import Classifiers, NoClassifierError, Steer, certain
from discrete_diffusion.evaluator.conditions import EACH, Condition, sweep
from discrete_diffusion.evaluator.constraints import read_constraints
from discrete_diffusion.evaluator.generation import Generation, read_prompt
from discrete_diffusion.evaluator.rewards import Reward
from discrete_diffusion.evaluator.rows import Row, rows
from discrete_diffusion.evaluator.steering import Steering, steering
from discrete_diffusion.guidance.protocols import is_left_to_right


@dataclass(frozen=True)
class Plan:
    """What will be run.

    Attributes:
        config: the configuration.
        generation: how a point is sampled.
        rows: what runs together.
        steers: what each preset with a classifier asks, by its key.
        left_to_right: whether the model is.
    """

    config: DictConfig
    generation: Generation
    rows: Sequence[Row]
    steers: dict[str, Steer]
    left_to_right: bool

    @property
    def searches(self) -> bool:
        """Whether anything asks a reward."""
        return any(preset.level == "search" for row in self.rows for preset in row.presets)

    def points(self, reward: Reward | None) -> dict[Condition, Steering]:
        """Every point of the sweep, and what is put around the model for it."""
        label = self.generation.checkpoint.label
        wanted = {key: steer.wanted for key, steer in self.steers.items()}
        if reward is not None:
            searches = [preset for row in self.rows for preset in row.presets if preset.level == "search"]
            wanted |= {preset.key: f"high {reward.name}" for preset in searches}
        points = sweep(self.config, label, self.rows, wanted)
        return {point: self._steering(point, row, reward) for point, row in points.items()}

    def _steering(self, point: Condition, row: Row | None, reward: Reward | None) -> Steering:
        presets = () if row is None else row.presets
        asked = [self.steers[preset.key] for preset in presets if preset.key in self.steers]
        label = self.generation.checkpoint.label
        return steering(
            self.config,
            presets,
            point.gamma,
            likelihoods={key: steer.likelihood for key, steer in self.steers.items()},
            classifiers=list(dict.fromkeys(steer.network for steer in asked)),
            reward=reward,
            null_label=None if label is None else label.num_classes,
            left_to_right=self.left_to_right,
        )


def prepare(
    config: DictConfig, checkpoint: Checkpoint, folder: Path, device: torch.device, tell: Callable[[str], None]
) -> Plan:
    """Put together what `config` asks for, refusing what cannot be, and find the classifiers that it takes.

    Args:
        folder: the checkpoint's.
        tell: hears of what a suite leaves out.

    Raises:
        ValueError: if something does not fit the model or is out of range.
        FileNotFoundError: if there is no classifier where one is needed, and no suite to leave it out of.
    """
    left_to_right = is_left_to_right(checkpoint.denoiser())
    asked = rows(config, checkpoint.label, left_to_right, tell)
    clamp = read_prompt(config.prompt, checkpoint)
    generation = Generation(
        checkpoint,
        with_steps(checkpoint.sampler(), config.sampling.steps),
        batch_size=config.batch_size,
        device=device,
        clamp=clamp,
        allowed=read_constraints(config.constraints, checkpoint, clamp),
        keep_states_of=config.pictures.trajectories if config.pictures.draw else 0,
    )
    _try_out(config, generation, asked, left_to_right)
    find = Classifiers(
        folder,
        checkpoint,
        device,
        path=config.classifier,
        label=None if config.label == EACH else config.label,
        strict=config.suite is None,
    )
    kept: list[Row] = []
    steers: dict[str, Steer] = {}
    for row in asked:
        try:
            steers |= {one.key: find(one) for one in row.presets if one.classifier is not None}
        except NoClassifierError as error:
            if config.suite is None:
                raise
            tell(f"Left out: {row.name}, {error}")
            continue
        kept.append(row)
    if not kept:
        raise ValueError("Expected a row of the suite that can be run, but all are left out.")
    if config.classifier is not None and not steers:
        raise ValueError(f"Expected no `classifier`: nothing asks {config.classifier}.")
    return Plan(config, generation, kept, steers, left_to_right)


def _try_out(config: DictConfig, generation: Generation, asked: Sequence[Row], left_to_right: bool) -> None:
    """Put every method around the model, with a classifier and a reward that know nothing, so that it says no now."""
    label = generation.checkpoint.label
    for point, row in sweep(config, label, asked, {}).items():
        presets = () if row is None else row.presets
        generation.try_out(
            steering(
                config,
                presets,
                point.gamma,
                likelihoods={preset.key: certain for preset in presets},
                reward=lambda x0: torch.zeros(len(x0)),
                null_label=None if label is None else label.num_classes,
                left_to_right=left_to_right,
            )
        )
