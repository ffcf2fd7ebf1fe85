"""Configuration files of the trainer, composed and built."""

import shutil
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

from discrete_diffusion.checkpoints import load
from discrete_diffusion.commandline.schema import check_settings, check_targets
from discrete_diffusion.trainer.schema import TrainerSettings, check_run
from discrete_diffusion.trainer.train_classifier import refuse

FOLDER = Path(str(files("discrete_diffusion.trainer") / "config"))
# Experiments have tests of their own.
GROUPS = sorted(path for path in FOLDER.iterdir() if path.is_dir() and path.name != "experiment")
OPTIONS = [f"{group.name}={path.stem}" for group in GROUPS for path in sorted(group.glob("*.yaml"))]
FACTS = {
    "vocab_size": 12,
    "length": 32,
    "bos_id": 0,
    "mask_id": 2,
    "num_classes": 2,
    "num_values": None,
    "image": {"height": 32, "width": 32, "channels": 3},
    "levels": 11,
    "marginals": [1 / 12] * 12,
    "pad_id": 1,
    "num_outputs": 2,
    "hidden_size": 16,
    "time_conditioning": True,
}
NEEDED = {
    "data=custom": ["data.rows._target_=my_package.my_rows", "data.column=text"],
    "data=image_folder": ["data.path=images"],
    "data=moses": ["data.path=dataset_v1.csv"],
    "data=table": ["data.path=my.csv", "data.column=text"],
    "label=percentile": ["label.column=qed"],
    "label=values": ["label.column=[qed,logp]"],
    "label=category": ["label.column=kind"],
    "label=joint": ["label.labels=[{column: qed, percentile: 90}, {column: kind}]"],
    "tokenizer=smiles_vocab": ["tokenizer.path=vocab.json"],
    "tokenizer=pixels": ["data=digits"],
    # Their tokenizer is another's, and comes from the hub or from a folder.
    **{f"data={name}": [] for name in ("lm1b", "lm1b_wrapped", "amazon_polarity", "openwebtext")},
    **{f"tokenizer={name}": [] for name in ("pretrained", "gpt2")},
}
# A classifier takes from its generator what others choose, and has options of its own.
TASKS = [option for option in OPTIONS if option.startswith("task=") and option != "task=generator"]
CLASSIFIERS_OWN = {
    "backbone=dimamba_classifier",
    "backbone=dimamba_mini_classifier",
    "backbone=dit_mini_classifier",
    "backbone=dit_tiny_classifier",
    "backbone=hidden_classifier",
    "backbone=unet_classifier",
    "backbone=unet_mini_classifier",
}

# Built from the user's class by tests/test_extensions.py.
OWN_CLASS = {"backbone=custom"}
PRETRAINED = {"backbone=huggingface_masked_lm", "backbone=huggingface_causal_lm", "backbone=hf_dit", "model=hf"}


def test_a_pretrained_network_is_a_backbone(configure, run, tmp_path: Path):
    sizes = {"vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    bert = BertForMaskedLM(BertConfig(**sizes, intermediate_size=8))
    bert.save_pretrained(tmp_path / "bert")
    options = ["backbone=huggingface_masked_lm", f"backbone.name_or_path={tmp_path / 'bert'}"]
    made = run(tmp_path / "run", "model=mdlm", "label=none", *options, small=False)
    found = load(tmp_path / "run" / "checkpoint")
    assert found.network.vocab_size == len(found.tokenizer)
    weights = found.network.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in made.network.state_dict().items())
    shutil.rmtree(tmp_path / "bert")
    load(tmp_path / "run" / "checkpoint")
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=8, n_layer=1, n_head=1, n_positions=64))
    gpt.save_pretrained(tmp_path / "gpt")
    options = ["backbone=huggingface_causal_lm", f"backbone.name_or_path={tmp_path / 'gpt'}"]
    with pytest.raises(ValueError, match="reads in both directions for this model, got HuggingFaceCausalLM"):
        run(tmp_path / "wrong", "model=mdlm", "label=none", *options, small=False)
    run(tmp_path / "right", "model=ar", "label=none", *options, small=False)


@pytest.mark.parametrize(
    "option", [one for one in OPTIONS if one not in {*TASKS, *CLASSIFIERS_OWN, *PRETRAINED, *OWN_CLASS}]
)
def test_every_option_builds_what_it_names(configure, tmp_path: Path, option: str):
    config = configure(option, *NEEDED.get(option, []), output=tmp_path)
    check_settings(config, TrainerSettings)
    config.facts = FACTS
    with torch.device("meta"):
        network = instantiate(config.backbone)
    assert network.vocab_size == 12
    denoiser = instantiate(config.model.denoiser)(network=lambda xt, sigma, **_: torch.zeros(*xt.shape, 12))
    objective = instantiate(config.model.objective)
    instantiate(config.model.sampler)
    x0 = torch.randint(3, 12, (2, 5), generator=torch.Generator().manual_seed(0))
    assert objective.loss(denoiser, x0, torch.zeros(2, dtype=torch.long)).isfinite().all()
    optimizer = instantiate(config.optimizer)(network.named_parameters())
    instantiate(config.lr_scheduler)(optimizer)
    instantiate(config.callbacks)
    instantiate(config.score)
    if option not in NEEDED:
        instantiate(config.label)
        instantiate(config.tokenizer)


@pytest.mark.parametrize(
    "options",
    [
        *([task] for task in TASKS),
        *(["task=noisy_classifier", option] for option in sorted(CLASSIFIERS_OWN)),
    ],
    ids=" ".join,
)
def test_every_option_of_a_classifier_builds_what_it_names(configure, tmp_path: Path, options: list[str]):
    config = configure(*options, output=tmp_path)
    check_settings(config, TrainerSettings)
    config.facts = FACTS
    with torch.device("meta"):
        network = instantiate(config.backbone)
    assert network.num_outputs == 2
    if "backbone=hidden_classifier" not in options:
        optimizer = instantiate(config.optimizer)(network.named_parameters())
        instantiate(config.lr_scheduler)(optimizer)
    instantiate(config.callbacks)
    assert callable(instantiate(config.task).keywords["view"])
    assert refuse(config) is None


def test_a_classifier_is_kept_under_its_generator_s_name(configure, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "outputs" / "words" / "2000-01-01_00-00-00"
    (run / "checkpoint").mkdir(parents=True)
    (run / "checkpoint" / "config.json").write_text("{}")
    for generator in ("null", run, run / "checkpoint"):
        config = configure("task=noisy_classifier", f"generator={generator}", output=tmp_path)
        assert config.name == "words_noisy_classifier"
    monkeypatch.chdir(run)
    assert configure("task=prefix_classifier", output=tmp_path).name == "generator_prefix_classifier"


def test_the_defaults_of_a_run_are_those_that_the_readme_tells(configure, tmp_path: Path):
    config = configure(output=tmp_path)
    assert config.model.process._target_.endswith("Uniform")
    assert config.data.rows._target_.endswith("molecules")
    assert (config.label.column, config.label.percentile) == ("qed", 90.0)


@pytest.mark.parametrize("name", sorted(path.stem for path in (FOLDER / "experiment").glob("*.yaml")))
def test_the_schema_holds_every_setting_of_an_experiment(configure, tmp_path: Path, name: str):
    task = ["task=noisy_classifier"] if name.endswith("_classifier") else []
    check_settings(configure(f"experiment={name}", *task, output=tmp_path), TrainerSettings)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("facts.vocab_size=5", "facts"),
        ("+trainer.max_epochs=0", "Expected `trainer.max_epochs` >= 1"),
        ("+trainer.limit_train_batches=0.0", "Expected `trainer.limit_train_batches`"),
        ("trainer.devices=abc", "or auto or numbers of devices, such as 0,1 or a list, got 'abc'"),
        ("trainer.devices=[]", "Expected `trainer.devices` .* got \\[\\]"),
    ],
)
def test_settings_without_any_step_or_effect_are_refused(configure, tmp_path: Path, override: str, message: str):
    with pytest.raises(Exception, match=message):
        check_settings(configure(override, output=tmp_path), TrainerSettings)


def test_an_optimizer_without_a_part_is_refused(configure, tmp_path: Path):
    config = configure("optimizer.muon=null", output=tmp_path)
    with pytest.raises(ValueError, match=r"Expected `optimizer\.muon` to be named entries with a `_target_`, got null"):
        check_targets(config)


@pytest.mark.parametrize("devices", ["2", "auto", "'-1'", "'0,1'", "'0,'", "[0,3]"])
def test_devices_are_a_number_or_a_list(configure, tmp_path: Path, devices: str):
    check_run(configure(f"trainer.devices={devices}", "trainer.accelerator=gpu", output=tmp_path))


@pytest.mark.filterwarnings("default")
def test_strategies_that_shard_the_network_are_refused(run, tmp_path: Path):
    sharded = "+trainer.strategy={_target_: lightning.pytorch.strategies.ModelParallelStrategy}"
    with pytest.raises(ValueError, match=r"Expected `trainer\.strategy` to be auto or ddp, got ModelParallelStrategy"):
        run(tmp_path, sharded)
