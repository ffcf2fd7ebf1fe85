"""Types and ranges of the evaluator's settings."""

import math
from typing import Annotated, Any, Literal

from omegaconf import DictConfig
from pydantic import AfterValidator, Field

from discrete_diffusion.commandline.schema import (
    Count,
    Number,
    OpenSettings,
    Positive,
    Seed,
    Settings,
    Share,
    Text,
    check_present,
    check_targets,
)


def _infinite(value: float) -> float:
    if value != math.inf:
        raise ValueError("inf")
    return value


def _ordered(bounds: list[int]) -> list[int]:
    if bounds != sorted(bounds):
        raise ValueError("two integers, the smaller one first")
    return bounds


Infinity = Annotated[float, AfterValidator(_infinite)]
"""A search keeps the best sample at this strength."""
BatchSize = Annotated[int, Field(ge=1, le=2**20)]
Steps = Annotated[int, Field(ge=1, le=2**20)]
Samples = Annotated[int, Field(ge=1, le=10**8)]
Gamma = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | Infinity
Numbers = float | list[float | None] | dict[str, float | None]
Label = Annotated[int, Field(ge=0)] | Text | bool | Numbers


class Method(OpenSettings):
    """Arguments of a guidance method."""

    n: Count | None = None
    exact: Annotated[int, Field(ge=0, le=10**9)] | None = None
    max_rows: Count | None = None
    epsilon: Annotated[float, Field(ge=0, lt=1)] | None = None
    steps: Count | None = None
    top_k: Count | None = None
    particles: Count | None = None
    draws: Count | None = None
    candidates: Count | None = None


class Classifier(OpenSettings):
    """Classifier of a guidance method."""

    kind: Text
    checkpoint: Text | None
    target: Any
    threshold: Number | Annotated[list[Number], Field(min_length=2, max_length=2)] | None = None
    negate: bool


class Guidance(Settings):
    """One guidance method."""

    name: Text
    level: Text
    levels: list[Text] | None = None
    needs: list[Text] | None = None
    classifier: Classifier | None = None
    method: Method


class SuiteRow(Settings):
    """Row of a suite of guidance."""

    guidance: list[Text]
    level: Text | None = None
    for_: Text = Field(alias="for")
    gammas: list[Gamma]
    samples: Samples | None


class Data(Settings):
    """Data of the checkpoint."""

    path: Text | list[Text] | None
    column: Text | None = None


class MosesData(Settings):
    """Place of MOSES."""

    path: Text | None


class ScoredData(Data):
    """Sequences to score."""

    path: Text | Annotated[list[Text], Field(min_length=1)]


class Function(OpenSettings):
    """Function of the user."""

    partial: Literal[True] = Field(True, alias="_partial_")


class Metrics(OpenSettings):
    """Arguments of a domain."""

    property_name: Text | None = None


class Reward(Settings):
    """Reward of searches."""

    function: Function
    invalid: Number
    scale: Positive | None


class Constraints(Settings):
    """Constraints on samples."""

    ban: list[str | int | float]
    length: Annotated[int, Field(ge=0, le=10**9)] | None
    only: dict[str, list[str | int | float]] | None


class Sampling(Settings):
    """Settings of a sampler."""

    steps: Steps | None
    temperature: Annotated[float, Field(ge=1e-6, allow_inf_nan=False)] | None
    top_k: Count | None
    nucleus: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None
    min_p: Share | None


class Pictures(Settings):
    """Pictures of samples."""

    draw: bool
    gamma: Gamma | None
    molecules: Annotated[int, Field(ge=1, le=10_000)]
    trajectories: Annotated[int, Field(ge=0, le=10_000)]


class Common(Settings):
    """Settings of every command."""

    checkpoint: Text | None
    trust_remote_code: bool
    device: Text | None
    devices: Annotated[int, Field(ge=1, le=4096)] | None
    batch_size: BatchSize
    label: Label | None


class Guided(Common):
    """Settings of the commands that sample."""

    guidance: dict[str, Guidance | None] | None = None
    sampler: dict[str, Any]
    grid: dict[str, Any]
    strength: dict[str, Any]
    truncation: dict[str, Any] | None = None
    temperature: Any = None
    top_k: Any = None
    nucleus: Any = None
    min_p: Any = None
    classifier: Text | None
    prompt: str | None
    reward: Reward
    constraints: Constraints
    sampling: Sampling
    gamma: Any
    null_label: Any


class EvaluatorSettings(Guided):
    """Every setting of `evaluator`."""

    properties: dict[str, Text | Function] | None
    metrics: Metrics
    judge: dict[str, Any]
    output: Text | None
    data: Data
    likelihood: bool
    validation_rows: Count | None
    repeats: Annotated[int, Field(ge=1, le=2**20)]
    likelihood_orders: list[Text]
    samples: Samples
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=10_000)]
    gammas: Annotated[list[Gamma], Field(min_length=1, max_length=10_000)] | None
    data_labels: bool
    pictures: Pictures
    suite: dict[str, SuiteRow] | None
    samplers: dict[str, Any] | None


class GenerateSettings(Guided):
    """Every setting of `evaluator generate`."""

    output: Text
    count: Samples
    seed: Seed
    valid: bool
    unique: bool
    max_draws: Count | None
    gamma: Gamma | None
    infill: Text | None
    infill_file: Text | None
    fragments: Text | None
    gap: Annotated[list[Count], Field(min_length=2, max_length=2), AfterValidator(_ordered)]


class ScoreSettings(Common):
    """Every setting of `evaluator score`."""

    data: ScoredData
    output: Text
    draws: Annotated[int, Field(ge=1, le=2**20)]
    order: Literal["highest_confidence", "largest_margin", "lowest_entropy"] | None
    tokens: bool
    compare: Text | None
    seed: Seed


class BenchmarkSettings(Settings):
    """Every setting of `evaluator benchmark`."""

    checkpoint: Text | None
    trust_remote_code: bool
    device: Text | None
    tasks: Annotated[list[Text], Field(min_length=1)] | None
    optimizers: Annotated[list[Text], Field(min_length=1)] | None
    start: Text | None
    budget: Annotated[int, Field(ge=10, le=10**7)]
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=10_000)]
    output: Text | None


class MosesSettings(Settings):
    """Every setting of `evaluator benchmark moses`."""

    checkpoint: Text | None
    trust_remote_code: bool
    device: Text | None
    batch_size: BatchSize
    data: MosesData
    samples: Annotated[int, Field(ge=2, le=10**8)]
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=10_000)]
    test_molecules: Annotated[int, Field(ge=2, le=10**8)] | None
    fcd: bool | None
    mcf: Text | None
    output: Text | None


def check_classes(config: DictConfig) -> None:
    """Check the arguments of the classes and functions that the settings name, before anything is built.

    Raises:
        ValueError: For the first that is unknown, missing or of another type.
    """
    check_present(config, ["data", "judge"])
    check_targets(config, fills_in=True)
