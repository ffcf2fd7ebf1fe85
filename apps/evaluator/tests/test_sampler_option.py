"""The evaluator's option `sampler`."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from discrete_diffusion import evaluator
from discrete_diffusion.checkpoints import load
from discrete_diffusion.evaluator.evaluate import evaluate
from discrete_diffusion.evaluator.sampler import build_grid, build_sampler
from discrete_diffusion.evaluator.sweep import build_sweep
from discrete_diffusion.processes import step_costs

Configured = Callable[..., DictConfig]
Checkpoint = Callable[[str], Path]


MASKED = {
    "remasking",
    "remasking_rescaled",
    "remasking_loop",
    "confidence_remasking",
    "path_planning",
    "masked_ancestral",
    "first_hitting",
    "random_order",
    "highest_confidence",
    "largest_margin",
    "lowest_entropy",
    "entropy_bound",
}
UNMASKED = {"gibbs_corrected", "settling", "uniformization"}
WITHOUT_KERNEL = MASKED - {"remasking", "remasking_rescaled", "remasking_loop"} | UNMASKED | {"trapezoidal"}
OPTIONS = {path.stem for path in (Path(evaluator.__file__).parent / "config" / "sampler").glob("*.yaml")}
SAMPLERS = sorted(OPTIONS - {"custom"})


def drawn(config: DictConfig, folder: Path, samples: int) -> list[str]:
    checkpoint = load(folder)
    sweep = build_sweep(config, checkpoint, folder, torch.device("cpu"), print)
    point = sweep.points()[-1]
    return sweep.generation(samples, 3, torch.ones(samples, dtype=torch.int64), sweep.guidance(point)).strings


@pytest.mark.parametrize("kind", ["mdlm", "udlm", "marginal"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_runs_under_guidance_or_is_refused(
    kind: str, sampler: str, configured: Configured, checkpoint: Checkpoint
):
    folder = checkpoint(kind)
    level = ["guidance.classifier_free.level=denoiser"] if sampler in WITHOUT_KERNEL else []
    common = [f"checkpoint={folder}", f"sampler={sampler}", "gammas=[2]", *level]
    if kind != "mdlm" if sampler in MASKED else kind == "mdlm" and sampler in UNMASKED:
        with pytest.raises(Exception, match="Expected"):
            drawn(configured(*common), folder, 1)
        return
    some = drawn(configured(*common, "batch_size=3"), folder, 4)
    assert len(set(some)) > 1
    assert drawn(configured(*common, "batch_size=8"), folder, 7)[:4] == some


@pytest.mark.parametrize("grid", ["cosine", "equal_survival", "log_snr"])
def test_a_grid_changes_the_times(grid: str, configured: Configured, checkpoint: Checkpoint):
    folder = checkpoint("mdlm")
    for sampler in ("own", "ancestral", "remasking"):
        config = configured(f"checkpoint={folder}", f"grid={grid}", f"sampler={sampler}", "sampling.steps=5")
        model = load(folder)
        built = build_sampler(config, model, build_grid(config, model, print))
        assert built.grid.func.__name__ == f"{grid}_times"  # type: ignore[attr-defined]
        assert built.steps == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["mdlm", "udlm"])
def test_a_fitted_grid_has_the_smallest_bound(kind: str, configured: Configured, checkpoint: Checkpoint):
    model = load(checkpoint(kind))
    settings = ["grid=fitted", "grid.sequences=16", "grid.candidates=7", "sampling.steps=3", "sampler=ancestral"]
    config = configured(f"checkpoint={checkpoint(kind)}", *settings)
    reported: list[str] = []
    grid = build_grid(config, model, reported.append)
    assert len(reported) == 1
    assert grid is not None
    process = model.sampler().process  # type: ignore[attr-defined]
    candidates = torch.linspace(1, 0, 7)
    x0 = model.sample(16, steps=7, seed=0)
    costs = step_costs(process, model.denoiser(), x0, candidates, generator=torch.Generator().manual_seed(0))
    sums = {inner: costs[[0, *inner], [*inner, 6]].sum().item() for inner in itertools.combinations(range(1, 6), 2)}
    best = min(sums, key=lambda inner: sums[inner])
    assert torch.equal(grid(3, process.schedule), candidates[[0, *best, 6]])
    assert sums[best] < max(sums.values())
    built = build_sampler(config, model, grid)
    assert built.grid is grid  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "sampler", "message"),
    [
        ("udlm", "remasking", "Expected masked diffusion for remasking, got Uniform"),
        ("ar", "predictor_corrector", "Expected no `sampler`: this model is sampled from left to right"),
        ("ar", "own grid=cosine", "Expected no `grid`: this model is sampled from left to right"),
        ("ar", "own grid=fitted", "Expected no `grid`: this model is sampled from left to right"),
        ("mdlm", "own grid=fitted grid.sequences=0", "Expected `grid.sequences` >= 1, got 0"),
        ("mdlm", "own grid=fitted grid.candidates=1", "Expected `grid.candidates` >= 2, got 1"),
        (
            "mdlm",
            "own grid=fitted grid.candidates=5 sampling.steps=5 guidance=none",
            "Expected 1 <= `steps` <= 4 for 5 candidates, got 5",
        ),
        ("mdlm", "remasking sampler.lift.rate.eta=2", "Expected 0 <= `eta` <= 1, got 2"),
        ("mdlm", "first_hitting", "On the command line: `guidance.classifier_free.level=denoiser`"),
        ("mdlm", "first_hitting guidance=none sampling.steps=5", "Expected no `sampling.steps`: FirstHittingSampler"),
        ("mdlm", "random_order guidance=none grid=cosine", "Expected no `grid`: OrderSampler chooses its own"),
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
    model = load(checkpoint("mdlm"))
    plain = build_sampler(configured(), model, None)
    ancestral = build_sampler(configured("sampler=ancestral"), model, None)
    remasking = build_sampler(configured("sampler=remasking", "sampler.lift.rate.eta=1.0"), model, None)
    assert type(plain.lift(denoiser=model.denoiser())).__name__ == "PredictorCorrector"
    assert type(ancestral.lift(denoiser=model.denoiser())).__name__ == "Ancestral"
    assert type(remasking.lift(denoiser=model.denoiser())).__name__ == "Remasking"
