"""Matrix of guidance and models: samples, or an error before any are drawn."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from discrete_diffusion.checkpoints import load
from discrete_diffusion.evaluator.generation import Generated
from discrete_diffusion.evaluator.rewards import Reward
from discrete_diffusion.evaluator.sweep import Sweep, build_sweep

MODELS = ("udlm", "mdlm", "marginal", "ar", "unlabeled", "unlabeled_ar")
LABELS = "needs labels, and the model was trained without"
RIGHT = "diffusion"  # "Expected a diffusion model", in the words of each method
YES = ""

# Expected error of each combination; "" if it draws samples.
DIFFUSION = {"udlm": YES, "mdlm": YES, "marginal": YES, "unlabeled": YES, "ar": RIGHT, "unlabeled_ar": RIGHT}
EXPECTED = {
    "none": dict.fromkeys(MODELS, YES),
    "classifier_free": {**dict.fromkeys(MODELS, YES), "unlabeled": LABELS, "unlabeled_ar": LABELS},
    "classifier_free@denoiser": {**dict.fromkeys(MODELS, YES), "unlabeled": LABELS, "unlabeled_ar": LABELS},
    "classifier_based": DIFFUSION,
    "classifier_based@denoiser": DIFFUSION,
    "first_order": DIFFUSION,
    "first_order@denoiser": DIFFUSION,
    "hybrid": DIFFUSION,
    "trust_region": DIFFUSION,
    "second_condition": DIFFUSION,
    "nos": DIFFUSION,
    "particles": DIFFUSION,
    "svdd": DIFFUSION,
    "fudge": {**dict.fromkeys(MODELS, "Expected a left-to-right `base`"), "ar": YES, "unlabeled_ar": YES},
    "pplm": {**dict.fromkeys(MODELS, "Expected a left-to-right `base`"), "ar": YES, "unlabeled_ar": YES},
    "best_of_n": dict.fromkeys(MODELS, YES),
    "[classifier_free,classifier_based]": {**DIFFUSION, "unlabeled": LABELS, "unlabeled_ar": LABELS},
    "[first_order,nos,particles]": DIFFUSION,
    "[fudge,best_of_n]": {**dict.fromkeys(MODELS, "Expected a left-to-right `base`"), "ar": YES, "unlabeled_ar": YES},
}
# FUDGE truncates to its candidates at any strength.
NOT_UNGUIDED_AT_ZERO = ("fudge", "[fudge,best_of_n]")
CLASSIFIERS = {"nos": "hidden", "pplm": "hidden", "fudge": "prefix"}
SMALL = {
    "particles": ["guidance.particles.method.particles=3"],
    "svdd": ["guidance.svdd.method.candidates=3"],
    "best_of_n": ["guidance.best_of_n.method.n=3"],
    "nos": ["guidance.nos.method.steps=2"],
    "pplm": ["guidance.pplm.method.steps=1"],
}

Configured = Callable[..., DictConfig]
Checkpoint = Callable[[str], Path]


loaded = cache(load)


def sweep_of(config: DictConfig, folder: Path) -> Sweep:
    sweep = build_sweep(config, loaded(folder), folder, torch.device("cpu"), print)
    tokenizer = sweep.generation.checkpoint.tokenizer
    return replace(sweep, reward=Reward(tokenizer, carbons)) if sweep.searches else sweep


def carbons(string: str) -> float:
    return float(string.count("C"))


def options(guidance: str, model: str, classifier: Callable[..., Path]) -> list[str]:
    label = ["label=qed"] if model.startswith("unlabeled") else []
    guidance_keys, _, level = guidance.partition("@")
    chosen = [f"guidance={guidance_keys}", *([f"guidance.{guidance_keys}.level={level}"] if level else [])]
    for name in guidance_keys.strip("[]").split(","):
        chosen += SMALL.get(name, [])
        kind = CLASSIFIERS.get(name, "noisy")
        asks = name not in ("none", "classifier_free", "particles", "svdd", "best_of_n")
        if asks and EXPECTED[guidance][model] == YES:
            chosen.append(f"guidance.{name}.classifier.checkpoint={classifier(model, kind, *label)}")
    return chosen if model.endswith("ar") else [*chosen, "sampling.steps=3"]


def drawn(sweep: Sweep, gamma: float | None, seed: int) -> Generated:
    (point,) = [point for point in sweep.points() if point.gamma == gamma and not point.data_labels]
    return sweep.generation(point.samples, seed, point.labels(None, seed), sweep.guidance(point))


CASES = [(guidance, model) for guidance in EXPECTED for model in MODELS]


@pytest.mark.parametrize(("guidance", "model"), CASES)
def test_the_matrix(
    guidance: str, model: str, configured: Configured, checkpoint: Checkpoint, classifier: Callable[..., Path]
):
    folder, common = checkpoint(model), ["samples=4", "batch_size=3"]
    gammas = [] if guidance == "none" else ["gammas=[0,1.5]"]
    config = configured(*common, *gammas, *options(guidance, model, classifier))
    refusal = EXPECTED[guidance][model]
    if refusal:
        with pytest.raises(ValueError, match=refusal) as refused:
            sweep_of(config, folder)
        assert "\n" not in str(refused.value)
        return
    sweep = sweep_of(config, folder)
    gamma = None if guidance == "none" else 1.5
    strings = drawn(sweep, gamma, 1).strings
    assert len(strings) == 4
    assert all(isinstance(string, str) for string in strings)
    assert drawn(sweep, gamma, 1).strings == strings
    if gamma is not None and guidance not in NOT_UNGUIDED_AT_ZERO:
        steps = [] if model.endswith("ar") else ["sampling.steps=3"]
        unguided = sweep_of(configured(*common, *steps, "guidance=none"), folder)
        assert drawn(sweep, 0.0, 1).strings == drawn(unguided, None, 1).strings


@pytest.mark.parametrize(
    ("guidance", "model", "option"),
    [
        ("first_order", "udlm", "sampling.temperature=0.5"),
        ("nos", "mdlm", "sampling.nucleus=0.8"),
        ("particles", "udlm", "sampling.top_k=3"),
        ("fudge", "ar", "sampling.temperature=0.5"),
        ("classifier_free", "ar", "sampling.top_k=2"),
        ("pplm", "ar", "sampling.nucleus=0.8"),
        ("classifier_based@denoiser", "mdlm", "strength=ramp"),
        ("first_order", "marginal", "strength=cosine"),
        ("nos", "udlm", "strength=interval"),
        ("fudge", "ar", "strength=interval"),
    ],
)
def test_options_go_with_any_guidance(
    guidance: str,
    model: str,
    option: str,
    configured: Configured,
    checkpoint: Checkpoint,
    classifier: Callable[..., Path],
):
    chosen = ["samples=4", "gammas=[2]", *options(guidance, model, classifier)]
    plain = drawn(sweep_of(configured(*chosen), checkpoint(model)), 2.0, 1).strings
    changed = drawn(sweep_of(configured(*chosen, option), checkpoint(model)), 2.0, 1).strings
    assert len(changed) == 4
    assert changed != plain


@pytest.mark.parametrize("model", ["udlm", "mdlm", "marginal", "ar"])
@pytest.mark.parametrize(
    "guidance", ["none", "classifier_free", "first_order", "nos", "fudge", "particles", "best_of_n"]
)
def test_constraints_hold_under_any_guidance(
    guidance: str, model: str, configured: Configured, checkpoint: Checkpoint, classifier: Callable[..., Path]
):
    if EXPECTED[guidance][model]:
        pytest.skip("not defined")
    constraints = ["constraints.ban=[O]", "constraints.length=5", "constraints.only={2: [N, F]}"]
    gammas = [] if guidance == "none" else ["gammas=[1.5]"]
    chosen = ["samples=6", "prompt=C", *gammas, *constraints, *options(guidance, model, classifier)]
    sweep = sweep_of(configured(*chosen), checkpoint(model))
    for string in drawn(sweep, None if guidance == "none" else 1.5, 1).strings:
        tokens = sweep.generation.checkpoint.tokenizer.tokenize(string)
        assert len(tokens) == 5, string
        assert tokens[0] == "C"
        assert tokens[1] in ("N", "F")
        assert "O" not in tokens
