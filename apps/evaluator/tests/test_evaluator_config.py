"""Every file of the configuration composes and builds what it names."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from discrete_diffusion.evaluator.conditions import sweep, wrappers
from discrete_diffusion.evaluator.metrics import build_metrics
from discrete_diffusion.guidance import ClassifierFree, Nucleus, Temperature
from discrete_diffusion.trainer.checkpoint import load

CONFIG = Path(str(files("discrete_diffusion.evaluator.config")))
GROUPS = sorted((path.parent.name, path.stem) for path in CONFIG.glob("*/*.yaml"))


def test_the_files_are_known():
    assert GROUPS == [
        ("guidance", "classifier_free"),
        ("guidance", "classifier_free_denoiser"),
        ("metrics", "auto"),
        ("metrics", "molecules"),
        ("metrics", "strings"),
    ]


@pytest.mark.parametrize("name", [name for group, name in GROUPS if group == "guidance"])
def test_guidance_wraps_with_the_gamma_of_each_point(
    name: str, configured: Callable[..., DictConfig], checkpoint: Callable[[str], Path]
):
    label = load(checkpoint("udlm")).label
    config = configured(f"guidance={name}", "sampling.temperature=0.5", "sampling.nucleus=0.9")
    points = sweep(config, label)
    assert [point.gamma for point in points] == [0, 1, 2, 3, 5]
    for point in points:
        on_denoiser, on_kernel = wrappers(config, point, label)
        built = [wrap(lambda xt, t: xt) for wrap in (*on_kernel, *on_denoiser)]
        assert [type(one) for one in built] == [ClassifierFree, Temperature, Nucleus]
        assert (built[0].gamma, built[0].null_label) == (point.gamma, 2)
        assert (len(on_kernel) == 1) == (name == "classifier_free")


@pytest.mark.parametrize(
    ("name", "kind"), [("molecules", "udlm"), ("strings", "udlm"), ("auto", "udlm"), ("auto", "table")]
)
def test_metrics_are_built_for_the_data(
    name: str, kind: str, configured: Callable[..., DictConfig], checkpoint: Callable[[str], Path]
):
    model = load(checkpoint(kind))
    metrics = build_metrics(configured(f"metrics={name}").metrics, model.config["data"]["kind"], model.data())
    molecules = name == "molecules" or (name, kind) == ("auto", "udlm")
    assert metrics.property_name == ("qed" if molecules else "length")
    outcome = metrics(["CO", "CO", "OC"])
    assert outcome.numbers["generated"] == 3
    assert outcome.numbers["unique" if molecules else "distinct"] == (1 if molecules else 2)


def test_labels_drawn_as_in_the_data_have_its_frequencies(
    configured: Callable[..., DictConfig], checkpoint: Callable[[str], Path]
):
    label = load(checkpoint("udlm")).label
    *_, drawn = sweep(configured("data_labels=true"), label)
    training = torch.tensor([0] * 9 + [1])
    y = drawn.labels(10_000, training, 1)
    assert y is not None
    # Three standard deviations of a share of 0.1 in 10,000 draws are 0.009.
    assert y.double().mean().item() == pytest.approx(0.1, abs=0.009)
