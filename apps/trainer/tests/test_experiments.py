"""Experiments: the numbers of docs/presets.md, their parts, and a training on a stand-in of their data."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.trainer.renamed_experiments import current_options, refuse_former_experiments
from discrete_diffusion.trainer.train import train
from discrete_diffusion.trainer.train_classifier import refuse
from discrete_diffusion.trainer.weight_average import WarmupEMA

FOLDER = Path(str(files("discrete_diffusion.trainer") / "config" / "experiment"))
TABLE = Path(__file__).parents[3] / "docs" / "presets.md"
DEFAULTS = ["molecules", "prose", "sentences", "reviews", "species", "proteins", "digits"]
MODELS = ("ar", "mdlm", "udlm")
# Names of version 0.1: one for each published run.
GENERATORS = [
    *(f"qm9_{model}{label}" for model in MODELS for label in ("", "_qed", "_ring_count")),
    *(f"{data}_{model}" for data in ("text8", "lm1b", "amazon", "species10") for model in MODELS),
    *(f"amazon_{model}_polarity" for model in MODELS),
    *("lm1b_wrapped_ar", "lm1b_wrapped_mdlm", "cifar10_mdlm", "cifar10_udlm"),
]
STAND_INS = {
    "qm9": "molecules",
    "text8": "prose",
    "lm1b": "sentences",
    "amazon": "reviews",
    "species10": "synthetic_species",
    "cifar10": "digits",
}
FACTS = {
    "vocab_size": 12,
    "length": 3072,
    "bos_id": 0,
    "mask_id": 2,
    "num_classes": None,
    "num_values": None,
    "image": {"height": 32, "width": 32, "channels": 3},
    "levels": 10,
    "marginals": [1 / 12] * 12,
    "pad_id": 1,
    "num_outputs": 2,
    "hidden_size": 16,
    "time_conditioning": True,
}
TINY = {
    "DiT": {"hidden_size": 16, "num_blocks": 1, "num_heads": 2},
    "DiMamba": {"hidden_size": 16, "num_blocks": 1},
    "UNet": {"hidden_channels": 8, "multipliers": [1], "num_res_blocks": 1, "attention_resolutions": []},
    "HiddenClassifier": {},
}
# steps, batch on all devices together, learning rate, warm-up, least learning rate, tokens, steps between validations
NUMBERS = {
    "qm9": (25_000, 2048, 3e-4, 1000, 3e-6, 32, 1000),
    "text8": (1_000_000, 512, 3e-4, 2500, None, 256, 5000),
    "lm1b": (1_000_000, 512, 3e-4, 2500, None, 128, 10_000),
    "amazon": (421_875, 512, 3e-4, 2500, None, 128, 7031),
    "species10": (30_000, 32, 2e-3, 3000, 2e-6, 32_768, 3000),
    "cifar10": (300_000, 512, 2e-4, 5000, None, 3072, 10_000),
}
CLASSIFIER_NUMBERS = {
    "qm9_noisy_classifier": (25_000, 2048, 3e-4, 1000, 3e-6),
    "qm9_prefix_classifier": (25_000, 2048, 3e-4, 1000, 3e-6),
    "qm9_hidden_classifier": (25_000, 2048, 3e-5, 1000, 3e-7),
    "species10_noisy_classifier": (30_000, 32, 2e-3, 3000, 2e-6),
    "species10_prefix_classifier": (30_000, 32, 2e-3, 3000, 2e-6),
    "species10_hidden_classifier": (30_000, 32, 2e-3, 3000, 2e-6),
    "species10_clean_classifier": (30_000, 32, 2e-3, 3000, 2e-6),
    "amazon_noisy_classifier": (400_000, 512, 3e-4, 1000, 3e-6),
    "amazon_prefix_classifier": (421_875, 512, 3e-4, 2500, None),
}
CLASSIFIERS = sorted(CLASSIFIER_NUMBERS)
SAMPLING_STEPS = {"qm9": 32, "text8": 256, "lm1b": 128, "amazon": 128, "species10": 128, "cifar10": 128}
LABELS = {"qed", "ring_count", "polarity"}
BACKBONES = {
    "text8": ("DiT", 768, 12),
    "lm1b": ("DiT", 768, 12),
    "amazon": ("DiT", 768, 12),
    "qm9": ("DiT", 768, 12),
    "species10": ("DiMamba", 256, 8),
}


def domain(name: str) -> str:
    return name.split("_")[0]


def model(name: str) -> str:
    return next(word for word in name.split("_") if word in ("ar", "mdlm", "udlm"))


def numbers(config) -> tuple:
    batch = config.batch_size * config.trainer.accumulate_grad_batches
    schedule = config.lr_scheduler
    return config.steps, batch, config.optimizer.lr, schedule.num_warmup_steps, schedule.get("min_lr")


def options(name: str) -> list[str]:
    """The options of a published run, or of a domain's default."""
    return [f"experiment={name}"] if name in DEFAULTS else current_options(name).split()


@pytest.mark.parametrize("name", [*GENERATORS, *CLASSIFIERS])
def test_a_former_name_is_refused_with_the_options_that_replace_it(name: str):
    with pytest.raises(ValueError, match=f"`experiment={name}` is now `{re.escape(current_options(name))}`"):
        refuse_former_experiments(["steps=3", f"experiment={name}"])


def test_other_arguments_are_not_refused():
    refuse_former_experiments(["experiment=qm9", "model=udlm", "name=qm9_udlm", "experiment=qm9_marginal"])


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_has_the_published_numbers(configure, tmp_path: Path, name: str):
    config = configure(*options(name), output=tmp_path)
    config.facts = FACTS
    batches = config.trainer.accumulate_grad_batches
    between = config.trainer.val_check_interval / batches
    assert (*numbers(config), config.data.length, between) == NUMBERS[domain(name)]
    assert config.name == {"amazon": "amazon_polarity"}.get(
        domain(name), "_".join(name.split("_")[: 1 + name.startswith("lm1b_w")])
    )
    assert config.trainer.precision == "bf16-mixed"
    assert config.trainer.gradient_clip_val == 1.0
    average = instantiate(config.callbacks.average)
    assert isinstance(average, WarmupEMA)
    assert average.decay == 0.9999
    assert config.optimizer._target_.endswith("AdamW")
    assert (*config.optimizer.betas, config.optimizer.weight_decay) == (0.9, 0.999, 0.0)
    assert config.lr_scheduler._target_.endswith("_warmup")
    if domain(name) in BACKBONES:
        network, hidden_size, num_blocks = BACKBONES[domain(name)]
        assert config.backbone._target_.endswith(f".{network}")
        assert (config.backbone.hidden_size, config.backbone.num_blocks) == (hidden_size, num_blocks)
    if model(name) == "ar":
        assert config.model.denoiser._target_.endswith("NextToken")
        assert config.backbone.causal is True
    else:
        process = {"mdlm": "Absorbing", "udlm": "Uniform"}[model(name)]
        assert config.model.process._target_.endswith(process)
        assert config.model.process.schedule._target_.endswith("LogLinear")
        assert config.model.objective._target_.endswith("ContinuousNELBO")
        assert config.model.sampler.steps == SAMPLING_STEPS[domain(name)]
        assert config.backbone.time_conditioning is (model(name) == "udlm")
    if model(name) == "udlm":
        assert config.model.process.parameterization._target_.endswith("LeaveOneOut")
    labelled = domain(name) in ("species10", "cifar10") or any(name.endswith(label) for label in LABELS)
    assert bool(config.label) is labelled
    assert config.label_dropout == 0.1


@pytest.mark.parametrize("name", [*GENERATORS, *DEFAULTS])
def test_a_generator_builds_what_it_names(configure, tmp_path: Path, name: str):
    config = configure(*options(name), output=tmp_path)
    facts = {**FACTS, "num_classes": 2 if config.label else None}
    image = config.data.get("image")
    config.facts = facts if image is None else {**facts, "image": image, "vocab_size": 260, "levels": image.levels}
    with torch.device("meta"):
        network = instantiate(config.backbone)
    assert network.vocab_size == config.facts.vocab_size
    assert network.num_classes == config.facts.num_classes
    optimizer = instantiate(config.optimizer)(network.named_parameters())
    instantiate(config.lr_scheduler)(optimizer)
    instantiate(config.model.objective)
    instantiate(config.model.sampler)
    instantiate(config.callbacks)
    instantiate(config.data.layout)
    instantiate(config.label)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_has_the_published_numbers_and_builds_what_it_names(
    configure, tmp_path: Path, monkeypatch, name: str
):
    monkeypatch.chdir(tmp_path)
    config = configure(*options(name), output=tmp_path)
    config.facts = FACTS
    assert refuse(config) is None
    assert numbers(config) == CLASSIFIER_NUMBERS[name]
    kind = name.split("_")[1]
    assert instantiate(config.task).keywords["view"].func.__name__ == {"prefix": "prefixes"}.get(kind, kind)
    assert config.name == f"generator_{kind}_classifier"
    with torch.device("meta"):
        network = instantiate(config.backbone)
    assert network.num_outputs == 2
    assert getattr(network, "causal", False) is (kind == "prefix")
    if kind == "hidden":
        assert (config.backbone.pooling, config.backbone.mlp_size) == ("mean", None)
    else:
        assert config.backbone.pooling == ("last" if kind == "prefix" else "mean")
        size = {"DiTClassifier": (512, 8), "DiMambaClassifier": (128, 4)}[type(network).__name__]
        assert (config.backbone.hidden_size, config.backbone.num_blocks) == size
        assert config.backbone.get("final_norm", False) is False
    optimizer = instantiate(config.optimizer)(network.named_parameters())
    assert isinstance(optimizer, torch.optim.AdamW)
    instantiate(config.lr_scheduler)(optimizer)
    instantiate(config.callbacks)


COMMANDS = re.findall(r"`uv run trainer ([^`]*)`", TABLE.read_text(encoding="utf-8"))


def test_the_page_has_every_experiment_and_every_published_run():
    page = [set(command.split()) for line in COMMANDS for command in expand(line)]
    chosen = {option.partition("=")[2] for command in page for option in command if option.startswith("experiment=")}
    assert chosen == {path.stem for path in FOLDER.glob("*.yaml")}
    for name in (*GENERATORS, *CLASSIFIERS):
        assert any(set(options(name)) <= command for command in page), name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_composes(configure, tmp_path: Path, command: str):
    for expanded in expand(command):
        configure(*expanded.split(), output=tmp_path)


def expand(pattern: str) -> list[str]:
    """Expand braces as a shell does in a word."""
    before, brace, rest = pattern.partition("{")
    if not brace:
        return [pattern]
    choices, _, after = rest.partition("}")
    return [word for choice in choices.split(",") for word in expand(before + choice + after)]


def test_braces_are_expanded_as_by_a_shell():
    assert expand("a={b,c} {d,e}") == ["a=b d", "a=b e", "a=c d", "a=c e"]


QUICK = {"qm9_udlm_qed", "text8_mdlm", "amazon_ar_polarity", "species10_udlm", "cifar10_udlm"}
QUICK_CLASSIFIERS = {"qm9_noisy_classifier", "species10_prefix_classifier"}


def some_slow(names: list[str], quick: set[str]) -> list[object]:
    return [pytest.param(name, marks=[] if name in quick else pytest.mark.slow) for name in names]


def tiny(config, data: str | None = None) -> list[str]:
    """What makes a run of this configuration small."""
    network = config.backbone._target_.rpartition(".")[2].replace("Classifier", "") or "HiddenClassifier"
    size = TINY["HiddenClassifier" if network == "Hidden" else network]
    sampled = "steps" in OmegaConf.select(config, "model.sampler", default={})
    return [
        *(f"backbone.{key}={value}" for key, value in size.items()),
        *(["data.rows.size=200"] if data in ("molecules", "sentences", "reviews", "synthetic_species") else []),
        *(["data.length=32"] if data in ("prose", "synthetic_species") else []),
        *(["sampling_steps=2"] if sampled else []),
        "steps=2",
        "batch_size=4",
        "validate_every=2",
        "trainer.accumulate_grad_batches=1",
        "trainer.val_check_interval=2",
        "trainer.limit_val_batches=1",
        "trainer.accelerator=cpu",
        "callbacks.progress.refresh_rate=0",
    ]


@pytest.fixture
def run_tiny(configure):
    """Train an experiment on its domain's stand-in for two steps."""

    def run_tiny(output: Path, name: str, data: str) -> Checkpoint:
        chosen = [*(one for one in options(name) if not one.startswith("data=")), f"data={data}"]
        config = configure(*chosen, *tiny(configure(*chosen, output=output), data), output=output)
        output.mkdir()
        return train(config)

    return run_tiny


@pytest.mark.parametrize("name", some_slow(GENERATORS, QUICK))
def test_a_generator_trains_on_its_stand_in(run_tiny, tmp_path: Path, name: str):
    checkpoint = run_tiny(tmp_path / "run", name, STAND_INS[domain(name)])
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").is_file()
    assert all(parameter.isfinite().all() for parameter in checkpoint.network.parameters())
    assert (tmp_path / "run" / "samples" / "step-000002.txt").read_text()
    published = {"amazon": "amazon_polarity"}.get(domain(name), domain(name))
    assert checkpoint.config["data"]["rows"]["_target_"] != f"discrete_diffusion.datasets.{published}"


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFAULTS)
def test_a_domain_s_default_trains(run_tiny, tmp_path: Path, name: str):
    data = {"species": "synthetic_species", "proteins": "synthetic_proteins"}.get(name, name)
    checkpoint = run_tiny(tmp_path / "run", name, data)
    assert all(parameter.isfinite().all() for parameter in checkpoint.network.parameters())


@pytest.mark.parametrize("name", some_slow(CLASSIFIERS, QUICK_CLASSIFIERS))
def test_a_classifier_trains_for_a_generator_of_its_domain(run_tiny, configure, tmp_path: Path, name: str):
    generator = f"{domain(name)}_{'ar' if '_prefix_' in name else 'mdlm'}"
    run_tiny(tmp_path / "generator", generator, STAND_INS[domain(name)])
    label = {"qm9": ["label=qed"], "amazon": ["label=polarity"]}.get(domain(name), [])
    chosen = [*options(name), f"generator={tmp_path / 'generator'}", *label]
    config = configure(*chosen, output=tmp_path / "run")
    config.facts = FACTS
    config = configure(*chosen, *tiny(config), output=tmp_path / "run")
    checkpoint = instantiate(config.task)(config)
    assert checkpoint.kind == name.split("_")[1]
    assert all(parameter.isfinite().all() for parameter in checkpoint.network.parameters())
