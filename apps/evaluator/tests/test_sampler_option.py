"""The evaluator's option `sampler`."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from discrete_diffusion.evaluator.evaluate import evaluate
from discrete_diffusion.evaluator.generation import build_sampler

Configured = Callable[..., DictConfig]
Checkpoint = Callable[[str], Path]


@pytest.mark.parametrize(
    ("kind", "sampler"),
    [
        ("udlm", "predictor_corrector"),
        ("marginal", "predictor_corrector"),
        ("mdlm", "predictor_corrector"),
        ("mdlm", "remasking"),
        ("mdlm", "remasking_rescaled"),
    ],
)
def test_a_sampler_runs_under_guidance(
    kind: str, sampler: str, configured: Configured, checkpoint: Checkpoint, tmp_path: Path
):
    options = [f"checkpoint={checkpoint(kind)}", f"output={tmp_path / 'out'}", "likelihood=false", "gammas=[0,2]"]
    directory = evaluate(configured(*options, f"sampler={sampler}", "seeds=[1]"))
    with (directory / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["generated"] for row in rows] == ["24", "24"]


@pytest.mark.parametrize(
    ("kind", "sampler", "message"),
    [
        ("udlm", "remasking", "Expected masked diffusion for remasking, got Uniform"),
        ("ar", "predictor_corrector", "Expected no `sampler`: this model is sampled from left to right"),
        ("mdlm", "remasking sampler.lift.rate.eta=2", "Expected 0 <= `eta` <= 1, got 2"),
    ],
)
def test_a_sampler_that_does_not_fit_is_refused(
    kind: str, sampler: str, message: str, configured: Configured, checkpoint: Checkpoint, tmp_path: Path
):
    overrides = [f"sampler={sampler.split()[0]}", *sampler.split()[1:]]
    config = configured(f"checkpoint={checkpoint(kind)}", f"output={tmp_path / 'out'}", "likelihood=false", *overrides)
    with pytest.raises(Exception, match=message):
        evaluate(config)
    assert not (tmp_path / "out").exists()


def test_another_sampler_changes_the_samples(configured: Configured, checkpoint: Checkpoint):
    from discrete_diffusion.checkpoints import load

    model = load(checkpoint("mdlm"))
    plain = build_sampler(configured(), model)
    remasking = build_sampler(configured("sampler=remasking", "sampler.lift.rate.eta=1.0"), model)
    assert type(plain.lift(denoiser=model.denoiser())).__name__ == "Ancestral"
    assert type(remasking.lift(denoiser=model.denoiser())).__name__ == "Remasking"
