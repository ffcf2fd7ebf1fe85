"""Configuration files of the evaluator, composed and built."""

import math
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from discrete_diffusion import guidance
from discrete_diffusion.checkpoints import load
from discrete_diffusion.commandline.schema import check_settings
from discrete_diffusion.datasets import character_tokenizer
from discrete_diffusion.evaluator.classifiers import uninformative_likelihood
from discrete_diffusion.evaluator.domains.domain import build_domain
from discrete_diffusion.evaluator.guidance import Guidance, build_guidance
from discrete_diffusion.evaluator.methods import read_methods
from discrete_diffusion.evaluator.point import Point
from discrete_diffusion.evaluator.renamed_guidance import refuse_former_guidance
from discrete_diffusion.evaluator.rewards import Reward
from discrete_diffusion.evaluator.schema import (
    BenchmarkSettings,
    EvaluatorSettings,
    GenerateSettings,
    MosesSettings,
    ScoreSettings,
)
from discrete_diffusion.evaluator.sweep import list_points, read_combinations

CONFIG = Path(str(files("discrete_diffusion.evaluator.config")))
GROUPS = sorted((path.parent.name, path.stem) for path in CONFIG.glob("*/*.yaml"))
BUILT = {
    "classifier_free": ("kernel", guidance.ClassifierFree),
    "classifier_based": ("kernel", guidance.ClassifierBased),
    "first_order": ("kernel", guidance.FirstOrder),
    "hybrid": ("kernel", guidance.Hybrid),
    "trust_region": ("kernel", guidance.TrustRegion),
    "second_condition": ("kernel", guidance.ClassifierBased),
    "nos": ("hidden", guidance.NOS),
    "pplm": ("hidden", guidance.PPLM),
    "fudge": ("denoiser", guidance.FUDGE),
    "particles": ("search", guidance.Particles),
    "svdd": ("search", guidance.SVDD),
    "best_of_n": ("search", guidance.BestOf),
}

Configured = Callable[..., DictConfig]
Checkpoint = Callable[[str], Path]


REWARD = Reward(character_tokenizer(["ab"]), len)


class Opened:
    """A model that has whatever a method may ask of one."""

    bos_id = 0

    def __init__(self, left_to_right: bool) -> None:
        self.left_to_right = left_to_right

    def __call__(self, *args: torch.Tensor) -> torch.Tensor:
        raise AssertionError("nothing is evaluated here")

    encode = decode = extend = next_token = __call__


def guided(config: DictConfig, gamma: float, null_label: int | None = None, left_to_right: bool = False) -> Guidance:
    methods = list(read_methods(config.guidance).values())
    return build_guidance(
        config,
        methods,
        gamma,
        likelihoods={method.key: uninformative_likelihood for method in methods},
        reward=REWARD,
        null_label=null_label,
        left_to_right=left_to_right,
    )


def points(config: DictConfig, model: Path) -> list[Point]:
    checkpoint = load(model)
    return list_points(config, checkpoint.label, read_combinations(config, checkpoint.label, False), {})


@pytest.mark.parametrize("name", BUILT)
def test_a_preset_builds_its_method_at_its_level_with_the_gamma_of_each_point(name: str, configured: Configured):
    level, kind = BUILT[name]
    config = configured(f"guidance={name}")
    for gamma in (0.0, 2.5):
        built = guided(config, gamma, null_label=2)
        levels = {"hidden": built.on_hidden, "denoiser": built.on_denoiser, "kernel": built.on_kernel}
        assert {key: len(value) for key, value in levels.items()} == {key: int(key == level) for key in levels}
        method = built.search if level == "search" else levels[level][0](Opened(name in ("pplm", "fudge")))
        assert type(method) is kind
        inner = method.guidance.keywords if name == "trust_region" else vars(method)
        assert inner["gamma"] == gamma
        assert inner.get("null_label", 2) == 2
        assert inner.get("likelihood", uninformative_likelihood) is uninformative_likelihood


def test_methods_of_a_level_are_nested_in_the_order_of_the_list(configured: Configured):
    own = "+guidance.own={name: own, level: denoiser, method: ${guidance.classifier_free.method}}"
    config = configured("guidance=[first_order,classifier_free,nos]", own, "sampling.top_k=1")
    built = guided(config, 2.0, null_label=2)
    assert [wrap.func for wrap in built.on_kernel] == [guidance.FirstOrder, guidance.ClassifierFree]
    assert [wrap.func for wrap in built.on_hidden] == [guidance.NOS]
    assert [wrap.func for wrap in built.on_denoiser] == [guidance.ClassifierFree, guidance.TopK]


def test_a_left_to_right_model_has_one_level_and_truncates_the_guided_distribution(configured: Configured):
    config = configured("sampling.temperature=0.5", "sampling.nucleus=0.9", "sampling.top_k=5")
    built = guided(config, 2.0, null_label=2, left_to_right=True)
    names = [guidance.ClassifierFree, guidance.Temperature, guidance.TopK, guidance.Nucleus]
    assert [wrap.func for wrap in built.on_denoiser] == names
    assert built.on_kernel == ()


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        ([], [2.0, 2.0, 2.0]),
        (["strength=ramp"], [0.0, 1.0, 2.0]),
        (["strength=cosine", "strength.start=1"], [1.0, 1.5, 2.0]),
        (["strength=interval", "strength.first=0.4", "strength.last=0.6"], [0.0, 2.0, 0.0]),
    ],
)
@pytest.mark.parametrize("name", ["classifier_free", "trust_region", "nos", "fudge"])
def test_strength_over_time_is_every_methods(
    name: str, strength: list[str], expected: list[float], configured: Configured
):
    built = guided(configured(f"guidance={name}", *strength), 2.0, null_label=2)
    (wrap,) = (*built.on_hidden, *built.on_denoiser, *built.on_kernel)
    keywords = wrap.keywords["guidance"].keywords if name == "trust_region" else wrap.keywords
    assert guidance.strength_at(keywords["gamma"], torch.tensor([1.0, 0.5, 0.0])).tolist() == pytest.approx(expected)


def test_a_methods_own_numbers_are_plain_keys(configured: Configured):
    config = configured("guidance=[nos,particles]", "guidance.nos.method.steps=7", "guidance.nos.method.gamma=0.5")
    built = guided(config, 3.0)
    assert built.on_hidden[0].keywords["steps"] == 7
    assert built.on_hidden[0].keywords["gamma"] == 0.5
    assert built.search.gamma == 3.0


def test_a_suite_runs_each_row_at_its_strengths_and_unguided_once(configured: Configured, checkpoint: Checkpoint):
    config = configured(
        "suite=guidance", "guidance=[classifier_free,first_order,best_of_n]", "suite.best_of_n.samples=5"
    )
    found = points(config, checkpoint("udlm"))
    assert [(point.row, point.gamma) for point in found] == [
        ("", None),
        ("classifier_free", 1.0),
        ("classifier_free", 2.0),
        ("classifier_free", 4.0),
        ("classifier_free_denoiser", 2.0),
        ("classifier_free_denoiser", 4.0),
        ("first_order", 1.0),
        ("first_order", 2.0),
        ("first_order", 4.0),
        ("first_order_denoiser", 1.0),
        ("first_order_denoiser", 2.0),
        ("first_order_denoiser", 4.0),
        ("composed", 1.0),
        ("composed", 2.0),
        ("best_of_n", 3.0),
        ("best_of_n", math.inf),
    ]
    assert len({point.file_name() for point in found}) == len(found)
    assert {point.samples for point in found if point.row != "best_of_n"} == {24}
    assert {point.samples for point in found if point.row == "best_of_n"} == {5}
    assert {point.guidance for point in found if point.row == "composed"} == {"D-CFG + D-CBG, first order"}
    assert {point.guidance for point in found if point.row == "first_order_denoiser"} == {
        "D-CBG, first order (denoiser)"
    }
    # Where labels guide, they are the class; elsewhere there are none.
    assert [point.label for point in found] == [2, *[1] * 5, *[2] * 6, 1, 1, 2, 2]


def test_gammas_are_those_of_every_row_if_they_are_given(configured: Configured, checkpoint: Checkpoint):
    found = points(configured("suite=guidance", "gammas=[0,7]"), checkpoint("udlm"))
    assert {point.gamma for point in found} == {None, 7.0}


def test_the_suite_has_rows_for_either_kind_of_model(configured: Configured):
    config = configured("suite=guidance")
    assert {key for row in config.suite.values() for key in row.guidance} == BUILT.keys() - {"second_condition"}
    names = {right: {row.name for row in read_combinations(config, None, right)} for right in (False, True)}
    assert names[True] == {"fudge", "pplm", "best_of_n"}
    assert names[False] & names[True] == {"best_of_n"}
    assert len(names[False]) == 10


@pytest.mark.parametrize(
    ("name", "kind"), [("molecules", "udlm"), ("strings", "udlm"), ("auto", "udlm"), ("auto", "table")]
)
def test_metrics_are_built_for_the_data(
    name: str, kind: str, configured: Callable[..., DictConfig], checkpoint: Callable[[str], Path]
):
    model = load(checkpoint(kind))
    metrics = build_domain(configured(f"metrics={name}").metrics, model.config["data"]["kind"], model.data())
    molecules = name == "molecules" or (name, kind) == ("auto", "udlm")
    assert metrics.property_name == ("qed" if molecules else "length")
    outcome = metrics(["CO", "CO", "OC"])
    assert outcome.numbers["generated"] == 3
    assert outcome.numbers["unique" if molecules else "distinct"] == (1 if molecules else 2)


def test_labels_drawn_as_in_the_data_have_its_frequencies(
    configured: Callable[..., DictConfig], checkpoint: Callable[[str], Path]
):
    label = load(checkpoint("udlm")).label
    config = configured("data_labels=true", "samples=10000")
    *_, drawn = list_points(config, label, read_combinations(config, label, False), {})
    training = torch.tensor([0] * 9 + [1])
    y = drawn.labels(training, 1)
    assert y is not None
    # Three standard deviations of a share of 0.1 in 10,000 draws are 0.009.
    assert y.double().mean().item() == pytest.approx(0.1, abs=0.009)


@pytest.mark.parametrize("name", ["classifier_free", "classifier_based", "first_order"])
def test_a_method_at_its_second_level_is_named_after_it(name: str, configured: Configured):
    (at_first,) = read_methods(configured(f"guidance={name}").guidance).values()
    (at_second,) = read_methods(configured(f"guidance={name}", f"guidance.{name}.level=denoiser").guidance).values()
    assert (at_first.level, at_second.level) == ("kernel", "denoiser")
    assert at_second.name == f"{at_first.name} (denoiser)"


@pytest.mark.parametrize(
    "argument",
    ["guidance=first_order_denoiser", "guidance=[nos,first_order_denoiser]", "guidance.first_order_denoiser.x=1"],
)
def test_former_names_are_refused_with_the_current_ones(argument: str):
    with pytest.raises(ValueError, match=r"is now `guidance=first_order guidance\.first_order\.level=denoiser`"):
        refuse_former_guidance(["samples=4", argument])
    refuse_former_guidance(["suite=guidance", "suite.first_order_denoiser.samples=2", "guidance=first_order"])


def composed(command: str, *overrides: str) -> DictConfig:
    with initialize_config_module("discrete_diffusion.evaluator.config", version_base="1.3"):
        return compose(command, [*overrides])


@pytest.mark.parametrize(
    ("command", "schema"),
    [
        ("evaluator", EvaluatorSettings),
        ("generate", GenerateSettings),
        ("score", ScoreSettings),
        ("benchmark", BenchmarkSettings),
        ("benchmark_moses", MosesSettings),
    ],
)
def test_the_schema_holds_every_setting_of_a_command(command: str, schema: type):
    check_settings(composed(command), schema)


@pytest.mark.parametrize(
    ("command", "schema", "override", "message"),
    [
        ("generate", GenerateSettings, "gap=[5,1]", "Expected `gap` to be two integers, the smaller one first"),
        ("score", ScoreSettings, "data.path=null", r"Expected `data\.path` to be a text or a list, got None"),
        ("benchmark", BenchmarkSettings, "budget=9", "Expected `budget` >= 10, got 9"),
        ("benchmark", BenchmarkSettings, "tasks=qed", "Expected `tasks` to be a list, got 'qed'"),
        ("benchmark", BenchmarkSettings, "tasks=[]", "Expected `tasks` to have 1 entries or more"),
        ("benchmark_moses", MosesSettings, "samples=1", "Expected `samples` >= 2, got 1"),
        ("score", ScoreSettings, "data.path=[]", r"Expected `data\.path` to be a text .* 1 entries or more"),
    ],
)
def test_the_schema_refuses_what_no_command_can_use(command: str, schema: type, override: str, message: str):
    with pytest.raises(ValueError, match=message):
        check_settings(composed(command, override), schema)


@pytest.mark.parametrize(("group", "name"), GROUPS)
def test_the_schema_holds_every_setting_of_an_option(group: str, name: str):
    check_settings(composed("evaluator", f"{group}={name}"), EvaluatorSettings)
