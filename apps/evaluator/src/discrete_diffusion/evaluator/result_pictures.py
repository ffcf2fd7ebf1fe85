"""Pictures in the folder of an evaluation."""

from collections.abc import Mapping

from omegaconf import DictConfig

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.evaluator.comparison import draw_samplers
from discrete_diffusion.evaluator.domains.domain import Domain
from discrete_diffusion.evaluator.generation import ParticleWeights
from discrete_diffusion.evaluator.pictures import draw_sweep, draw_trajectory, draw_weights
from discrete_diffusion.evaluator.point import Point
from discrete_diffusion.evaluator.record import Record
from discrete_diffusion.evaluator.requested import requested_number
from discrete_diffusion.evaluator.sweep import Sweep
from discrete_diffusion.guidance import State

LONGEST = 1024
"""Longest sample, in tokens, that is animated in trajectory.gif; the report shows longer ones."""


def draw_results(
    config: DictConfig,
    sweep: Sweep,
    record: Record,
    domain: Domain,
    checkpoint: Checkpoint,
    states: Mapping[Point, list[State]],
    weights: Mapping[Point, list[ParticleWeights]],
    chosen: Point,
) -> None:
    """Draw all pictures that apply."""
    directory = record.directory
    runs = [run for run in record.runs if run.condition.same_sampler(chosen)]
    domain.draw(runs, directory, chosen=chosen, shown=config.pictures.molecules)
    if chosen.sampler:
        draw_samplers(record.runs, record.rows, domain, record.facts.get("training_diversity", {}), directory)
    else:
        number = requested_number(checkpoint, domain.property_name)
        requested = sweep.requested(domain.property_name) if number is None else (number, number)
        draw_sweep(record.runs, record.rows, domain, directory, requested)
    steered = {point: steps for point, steps in weights.items() if point.gamma and point.same_sampler(chosen)}
    if steered:
        draw_weights(steered, directory / "particles.png")
    if config.pictures.trajectories and checkpoint.length <= LONGEST:
        title = f"The first samples of seed {config.seeds[0]} ({chosen.title()})"
        draw_trajectory(states[chosen], directory / "trajectory.gif", checkpoint, domain.illustrate, title)
