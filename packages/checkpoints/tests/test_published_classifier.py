"""Noisy classifiers of the published code, on converted generators."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer as Symbols
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from discrete_diffusion.backbones import DiT
from discrete_diffusion.checkpoints import (
    Checkpoint,
    ConvertedClassifier,
    convert,
    convert_classifier,
    load,
    load_classifier,
    read_foreign,
)
from discrete_diffusion.datasets import FittedCategoryLabel, ThresholdLabel, text8_tokenizer
from discrete_diffusion.guidance import ClassifierBased, FirstOrder
from discrete_diffusion.processes import Uniform

LENGTH, V, CLASSES, HIDDEN, COND, BLOCKS, HEADS = 10, 35, 3, 16, 8, 2, 2
CONFIG: dict[str, Any] = {
    "diffusion": "uniform",
    "backbone": "dit",
    "classifier_backbone": "dit",
    "parameterization": "d3pm",
    "time_conditioning": True,
    "T": 0,
    "sampling": {"steps": 6},
    "training": {"guidance": {"cond_dropout": 0.1}},
    "data": {"train": "text8", "tokenizer_name_or_path": "text8", "num_classes": CLASSES, "label_col": "kind"},
    "model": {"hidden_size": 16, "cond_dim": 8, "length": LENGTH, "n_blocks": 2, "n_heads": 2, "dropout": 0.1},
    "classifier_model": {
        "hidden_size": HIDDEN,
        "cond_dim": COND,
        "n_blocks": BLOCKS,
        "n_heads": HEADS,
        "dropout": 0.1,
        "scale_by_sigma": True,
        "num_classes": "${data.num_classes}",
        "pooling": "mean",
    },
    "noise": {"type": "loglinear", "sigma_min": 1e-4, "sigma_max": 20},
}


def config(**changes: Any) -> dict[str, Any]:
    """The configuration with other entries, `a__b` for `a.b`; None takes one out."""
    changed = json.loads(json.dumps(CONFIG))
    for name, value in changes.items():
        *parents, last = name.split("__")
        node = changed
        for parent in parents:
            node = node[parent]
        node[last] = value
        if value is None:
            del node[last]
    return changed


def classifier_weights(vocab_size: int = V, classes: int = CLASSES) -> dict[str, Tensor]:
    """Random weights of every published name."""
    shapes: dict[str, tuple[int, ...]] = {
        "vocab_embed.embedding": (vocab_size, HIDDEN),
        "sigma_map.mlp.0.weight": (COND, 256),
        "sigma_map.mlp.0.bias": (COND,),
        "sigma_map.mlp.2.weight": (COND, COND),
        "sigma_map.mlp.2.bias": (COND,),
        "output_layer.weight": (classes, HIDDEN),
        "output_layer.bias": (classes,),
    }
    for block in range(BLOCKS):
        inside = {"norm1.weight": (HIDDEN,), "norm2.weight": (HIDDEN,)}
        inside |= {"attn_qkv.weight": (3 * HIDDEN, HIDDEN), "attn_out.weight": (HIDDEN, HIDDEN)}
        inside |= {"mlp.0.weight": (4 * HIDDEN, HIDDEN), "mlp.0.bias": (4 * HIDDEN,)}
        inside |= {"mlp.2.weight": (HIDDEN, 4 * HIDDEN), "mlp.2.bias": (HIDDEN,)}
        inside |= {"adaLN_modulation.weight": (6 * HIDDEN, COND), "adaLN_modulation.bias": (6 * HIDDEN,)}
        shapes |= {f"blocks.{block}.{name}": shape for name, shape in inside.items()}
    draw = torch.Generator().manual_seed(3)
    weights = {name: 0.3 * torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    size = HIDDEN // HEADS
    weights["rotary_emb.inv_freq"] = 1 / 10_000 ** (torch.arange(0, size, 2).float() / size)
    return {f"classifier_model.{name}": weight for name, weight in weights.items()}


def write(path: Path, published_config: dict[str, Any], weights: dict[str, Tensor] | None = None, **hyper: Any) -> Path:
    """A classifier's `.ckpt`, with measures beside its weights."""
    state = classifier_weights() if weights is None else weights
    measures = {"train_metrics.accuracy.numerator": torch.ones(()), "valid_metrics.recall.denominator": torch.ones(())}
    content = {
        "global_step": 1234,
        "state_dict": {**state, **measures},
        "hyper_parameters": {"config": published_config, **hyper},
        "loops": {"fit_loop": {"epoch_progress": {"current": {"completed": 0}}}},
        "sampler": {"random_state": None},
    }
    torch.save(content, path)
    return path


def generator_of(folder: Path, published_config: dict[str, Any] = CONFIG, classes: int | None = CLASSES) -> Path:
    """A converted generator of the same configuration."""
    network = DiT(V, HIDDEN, BLOCKS, HEADS, cond_size=COND, num_classes=classes)
    draw = torch.Generator().manual_seed(5)
    state = {f"backbone.{name}": 0.3 * torch.randn(w.shape, generator=draw) for name, w in network.state_dict().items()}
    file = folder.with_suffix(".ckpt")
    torch.save({"state_dict": state, "hyper_parameters": {"config": published_config}}, file)
    convert(file, folder, weights="last")
    return folder


def published_forward(weights: dict[str, Tensor], x: Tensor, sigma: Tensor) -> Tensor:
    """The published network in functions: embedding, modulated blocks, mean over positions, linear layer."""
    w = {name.removeprefix("classifier_model."): weight for name, weight in weights.items()}
    batch, length = x.shape[:2]
    size = HIDDEN // HEADS
    h = x @ w["vocab_embed.embedding"] if x.is_floating_point() else w["vocab_embed.embedding"][x]
    angles = sigma[:, None] * torch.exp(-math.log(10_000) * torch.arange(128) / 128)
    features = torch.cat([angles.cos(), angles.sin()], -1)
    inner = F.silu(F.linear(features, w["sigma_map.mlp.0.weight"], w["sigma_map.mlp.0.bias"]))
    c = F.silu(F.linear(inner, w["sigma_map.mlp.2.weight"], w["sigma_map.mlp.2.bias"]))
    turn = torch.arange(length)[:, None] * w["rotary_emb.inv_freq"]
    cos, sin = turn.cos()[:, None], turn.sin()[:, None]

    def rotated(u: Tensor) -> Tensor:
        one, two = u.chunk(2, -1)
        return torch.cat([one * cos - two * sin, two * cos + one * sin], -1)

    for block in range(BLOCKS):
        b = {name.removeprefix(f"blocks.{block}."): weight for name, weight in w.items()}
        modulation = F.linear(c, b["adaLN_modulation.weight"], b["adaLN_modulation.bias"])[:, None].chunk(6, -1)
        normed = F.layer_norm(h, (HIDDEN,), b["norm1.weight"]) * (1 + modulation[1]) + modulation[0]
        q, k, v = F.linear(normed, b["attn_qkv.weight"]).view(batch, length, 3, HEADS, size).unbind(2)
        scores = torch.einsum("bihd,bjhd->bhij", rotated(q), rotated(k)) / size**0.5
        mixed = torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v).reshape(batch, length, HIDDEN)
        h = h + modulation[2] * F.linear(mixed, b["attn_out.weight"])
        normed = F.layer_norm(h, (HIDDEN,), b["norm2.weight"]) * (1 + modulation[4]) + modulation[3]
        inner = F.gelu(F.linear(normed, b["mlp.0.weight"], b["mlp.0.bias"]), approximate="tanh")
        h = h + modulation[5] * F.linear(inner, b["mlp.2.weight"], b["mlp.2.bias"])
    return F.linear(h.mean(1), w["output_layer.weight"], w["output_layer.bias"])


def sequences() -> Tensor:
    return torch.randint(V, (4, LENGTH), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def made(tmp_path: Path) -> ConvertedClassifier:
    """A classifier beside the generator in `tmp_path / "generator"`."""
    generator_of(tmp_path / "generator")
    return convert_classifier(write(tmp_path / "c.ckpt", config()), tmp_path / "c", tmp_path / "generator")


@torch.no_grad()
@pytest.mark.parametrize("conditioned", [True, False])
@pytest.mark.parametrize("diffusion", ["uniform", "absorbing_state"])
def test_it_says_what_the_published_network_says(tmp_path: Path, conditioned: bool, diffusion: str):
    published_config = config(time_conditioning=conditioned, diffusion=diffusion)
    folder = generator_of(tmp_path / "generator", published_config)
    found = convert_classifier(write(tmp_path / "c.ckpt", published_config), tmp_path / "c", folder)
    read = load_classifier(tmp_path / "c")
    x, sigma, weights = sequences(), torch.tensor([0.0, 0.1, 1.5, 6.0]), classifier_weights()
    fed = sigma if conditioned else torch.zeros(4)
    onehots = F.one_hot(x, V).float()
    soft = (0.7 * onehots + 0.3 / V).clone()
    for tokens in (x, onehots, soft):
        expected = published_forward(weights, tokens, fed)
        for network in (found.checkpoint.network, read.network):
            assert float((network(tokens, sigma) - expected).abs().max()) < 1e-5
    t = torch.tensor([1e-3, 0.2, 0.5, 0.9])
    fed = -torch.log1p(-(1 - 1e-3) * t) if conditioned else torch.zeros(4)
    expected = published_forward(weights, x, fed).log_softmax(-1)
    torch.testing.assert_close(read.predictor()(x, t), expected, rtol=0, atol=1e-5)


def test_the_folder_is_a_classifier_of_this_generator(made: ConvertedClassifier, tmp_path: Path):
    folder = tmp_path / "generator"
    found, model = load_classifier(tmp_path / "c"), load(folder)
    found.matches(model)
    assert found.kind == "noisy"
    assert (found.config, found.label) == (made.checkpoint.config, made.checkpoint.label)
    assert found.config["network"] == {
        "_target_": "discrete_diffusion.backbones.DiTClassifier",
        "vocab_size": V,
        "hidden_size": HIDDEN,
        "num_blocks": BLOCKS,
        "num_heads": HEADS,
        "num_outputs": CLASSES,
        "cond_size": COND,
        "dropout": 0.1,
        "pooling": "mean",
        "time_conditioning": True,
        "final_norm": False,
    }
    assert found.config["generator"]["path"] == str(folder)
    assert found.predictor().process == model.denoiser().process
    assert isinstance(model.denoiser().process, Uniform)
    assert not found.network.training
    assert made.origin == f"the classifier of step 1,234 in {tmp_path / 'c.ckpt'}"
    assert made.generator.config == model.config
    unit = load(model.with_classifiers(noisy=found).save(tmp_path / "unit"))
    torch.testing.assert_close(
        unit.classifiers["noisy"].predictor()(sequences(), torch.full((4,), 0.3)),
        made.checkpoint.predictor()(sequences(), torch.full((4,), 0.3)),
    )


def test_the_default_pooling_is_the_mean_and_weights_may_be_of_any_dtype(tmp_path: Path):
    folder = generator_of(tmp_path / "generator")
    halves = {name: weight.bfloat16() for name, weight in classifier_weights().items()}
    published_config = config(classifier_model__pooling=None)
    network = convert_classifier(
        write(tmp_path / "c.ckpt", published_config, halves), tmp_path / "c", folder
    ).checkpoint.network
    expected = published_forward({name: weight.float() for name, weight in halves.items()}, sequences(), torch.ones(4))
    # The frequencies have lost digits in the file, and ours have not.
    torch.testing.assert_close(network(sequences(), torch.ones(4)), expected, rtol=0, atol=0.02)
    assert {weight.dtype for weight in network.state_dict().values()} == {torch.float32}


def test_guidance_by_it_finds_its_class(made: ConvertedClassifier):
    model = made.generator
    likelihood = made.checkpoint.likelihood(1)

    def drawn(*wrappers: Any) -> Tensor:
        return model.sample(16, on_kernel=list(wrappers), generator=torch.Generator().manual_seed(2))

    def log_probability(ids: Tensor) -> float:
        with torch.no_grad():
            return float(likelihood(ids, torch.full((16,), 1e-3)).mean())

    plain = drawn()
    exact = drawn(lambda kernel: ClassifierBased(kernel, likelihood, gamma=10.0))
    sloped = drawn(lambda kernel: FirstOrder(kernel, likelihood, gamma=10.0))
    assert log_probability(exact) > log_probability(plain) + 0.3
    assert log_probability(sloped) > log_probability(plain) + 0.3


def test_its_gradient_is_the_slope_of_the_likelihood(made: ConvertedClassifier):
    made.checkpoint.network.double()
    likelihood, t = made.checkpoint.likelihood(1), torch.full((4,), 0.3, dtype=torch.float64)
    onehots = F.one_hot(sequences(), V).double().requires_grad_()
    (gradient,) = torch.autograd.grad(likelihood(onehots, t).sum(), onehots)
    step = 1e-5 * torch.randn(onehots.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        rise = (likelihood(onehots + step, t) - likelihood(onehots - step, t)) / 2
    torch.testing.assert_close((gradient * step).sum((1, 2)), rise, rtol=1e-5, atol=1e-10)
    assert bool((gradient.abs().sum((1, 2)) > 1e-3).all())


def test_classes_are_called_as_the_generator_s(made: ConvertedClassifier, tmp_path: Path):
    assert made.checkpoint.label == FittedCategoryLabel("label", ("class 0", "class 1", "class 2"))
    assert "the file does not name its classes (data.label_col=kind): they are called as the generator's" in made.notes
    bare = generator_of(tmp_path / "bare", config(training__guidance=None), classes=None)
    found = convert_classifier(tmp_path / "c.ckpt", tmp_path / "d", bare)
    assert found.checkpoint.label == FittedCategoryLabel("kind", ("class 0", "class 1", "class 2"))
    assert "the file does not name its classes (data.label_col=kind): they are class 0 to 2" in found.notes


@pytest.mark.parametrize(
    ("own", "column", "shared"),
    [
        (ThresholdLabel("qed", 0.6), "qed", True),
        (ThresholdLabel("qed", 0.6), None, True),
        (ThresholdLabel("qed", 0.6), "ring_count", False),
        (ThresholdLabel("qed", 0.6, "<="), "qed", False),
        (FittedCategoryLabel("polarity", ("negative", "positive")), "label", True),
        (FittedCategoryLabel("species", ("a", "b", "c")), "label", False),
    ],
)
def test_a_threshold_of_another_column_gives_no_names(tmp_path: Path, own: Any, column: str | None, shared: bool):
    folder = generator_of(tmp_path / "generator", config(training__guidance=None), classes=None)
    model = load(folder)
    network = DiT(V, HIDDEN, BLOCKS, HEADS, cond_size=COND, num_classes=own.num_classes)
    settings = {**model.config, "label": own.to_dict()}
    settings["backbone"] = {**model.config["backbone"], "num_classes": own.num_classes}
    Checkpoint(settings, network.eval(), model.tokenizer, own).save(tmp_path / "labelled")
    published_config = config(data__num_classes=2, data__label_col=column, data__label_col_pctile=90)
    path = write(tmp_path / "c.ckpt", published_config, classifier_weights(classes=2))
    found = convert_classifier(path, tmp_path / "c", tmp_path / "labelled").checkpoint.label
    assert found == (own if shared else FittedCategoryLabel(column or "label", ("class 0", "class 1")))


def fast_tokenizer(names: list[str]) -> PreTrainedTokenizerFast:
    """One that is pickled whole, as those of transformers are."""
    symbols = Symbols(WordLevel({name: index for index, name in enumerate(names)}, unk_token=names[0]))
    return PreTrainedTokenizerFast(tokenizer_object=symbols, mask_token=text8_tokenizer().mask_token)


def test_the_pickled_tokenizer_is_compared(tmp_path: Path):
    folder = generator_of(tmp_path / "generator")
    names = text8_tokenizer().convert_ids_to_tokens(range(V))
    path = write(tmp_path / "c.ckpt", config(), tokenizer=fast_tokenizer(names))
    assert len(convert_classifier(path, tmp_path / "c", folder).notes) == 1  # of the classes
    write(path, config(), tokenizer=fast_tokenizer([*names[:-2], names[-1], names[-2]]))
    with pytest.raises(ValueError, match=r"the vocabulary of .*generator in .*c\.ckpt, which numbers other symbols"):
        convert_classifier(path, tmp_path / "d", folder)
    write(path, config(), tokenizer=Path("x"))
    notes = convert_classifier(path, tmp_path / "d", folder).notes
    assert any(note.startswith("objects of pathlib") for note in notes)
    assert any("it is taken to be the generator's" in note for note in notes)


def test_differences_in_training_are_reported(tmp_path: Path):
    folder = generator_of(tmp_path / "generator")
    published_config = config(noise__eps=1e-5, training__change_of_variables=True)
    notes = convert_classifier(write(tmp_path / "c.ckpt", published_config), tmp_path / "c", folder).notes
    assert "training.change_of_variables=true: the network was fed t, and is fed sigma(t) here" in notes
    assert "noise.eps=1e-05: the published code has 1e-3 whatever it says" in notes
    assert not any("metrics" in note for note in notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classifier_backbone": "hyenadna"}, "a hyenadna, whose network runs code .*(noisy_classifier)"),
        ({"classifier_backbone": "dimamba"}, "a dimamba, whose last norm is modulated there, and is not here"),
        ({"classifier_backbone": "mlp"}, "a mlp, which is none of the published code"),
        ({"classifier_backbone": None}, "Expected `classifier_backbone` in the checkpoint's configuration"),
        ({"classifier_backbone": "hyenadna", "is_eval_classifier": True}, "of clean sequences.*(clean_classifier)"),
        (
            {"is_fudge_classifier": True},
            "FUDGE's, which reads <bos> first.*generator .*prefix_classifier",
        ),
        ({"classifier_model__pooling": "no_pooling"}, "FUDGE's, which reads <bos> first"),
        ({"is_pplm_classifier": True}, "PPLM's or NOS's, .*hidden_classifier"),
        ({"classifier_model__pooling": "attention_mean"}, "PPLM's or NOS's"),
        ({"parameterization": "ar"}, r"from left to right \(parameterization=ar\), which reads <bos> first"),
        ({"classifier_model__pooling": "max"}, "pooling=max, which the published code takes over another axis"),
        ({"classifier_model__pooling": "cls"}, "pooling=cls"),
        ({"classifier_model__pooling": "last"}, "pooling=last"),
        ({"diffusion": "absorbing_state"}, "with the process Absorbing, and this generator has the process Uniform"),
        ({"diffusion": "gaussian"}, "diffusion=absorbing_state or uniform in .*, got gaussian"),
        ({"noise__type": "cosine"}, r"the schedule Cosine\(eps=0.001\), and this generator has the schedule LogLinear"),
        ({"noise__type": "ar"}, "noise.type to be one of"),
        ({"time_conditioning": False}, "with time conditioning off, and this generator has time conditioning on"),
        ({"time_conditioning": "yes"}, "true or false as `time_conditioning`"),
        ({"model__length": 12}, r"sequences of 12 tokens, and this .* 10 tokens \(.*generator\): name the one that"),
        ({"classifier_model__n_heads": 3}, "The sizes of `classifier_model` in .* do not fit: .*multiple of"),
        ({"classifier_model__n_blocks": 0}, "`classifier_model.n_blocks` >= 1 in .*, got 0"),
        ({"classifier_model__n_blocks": 1}, r"with unknown classifier_model\.blocks\.1\..* and 5 more"),
        ({"classifier_model__hidden_size": "16"}, "a number as `classifier_model.hidden_size`"),
        ({"data__num_classes": 2}, r"output_layer\.weight has the shape \(3, 16\) and not \(2, 16\)"),
        ({"classifier_model": None}, "Expected `classifier_model.hidden_size`"),
    ],
)
def test_what_it_cannot_be_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str):
    folder = generator_of(tmp_path / "generator")
    path = write(tmp_path / "c.ckpt", config(**changes))
    with pytest.raises(ValueError, match=message) as caught:
        convert_classifier(path, tmp_path / "c", folder)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("classifier_model.output_layer.bias"), r"without classifier_model\.output_layer\.bias\.$"),
        (
            lambda w: w.pop("classifier_model.vocab_embed.embedding"),
            r"without classifier_model\.vocab_embed\.embedding",
        ),
        (
            lambda w: w.update({"classifier_model.norm_final.weight": torch.ones(16)}),
            r"with unknown classifier_model\.norm_final\.weight\.$",
        ),
        (
            lambda w: w.update({"classifier_model.rotary_emb.inv_freq": torch.ones(4)}),
            r"Expected classifier_model\.rotary_emb\.inv_freq of .* turns its heads by other angles",
        ),
        (
            lambda w: w.update(classifier_weights(vocab_size=V + 1)),
            "a classifier of 35 symbols, as .*generator has, got one of 36",
        ),
    ],
)
def test_weights_that_are_missing_or_not_understood_are_named(tmp_path: Path, change: Any, message: str):
    folder, weights = generator_of(tmp_path / "generator"), classifier_weights()
    change(weights)
    with pytest.raises(ValueError, match=message):
        convert_classifier(write(tmp_path / "c.ckpt", config(), weights), tmp_path / "c", folder)


def test_a_generator_from_left_to_right_is_refused(tmp_path: Path):
    model = load(generator_of(tmp_path / "generator"))
    denoiser = {"_target_": "discrete_diffusion.processes.NextToken", "_partial_": True, "bos_id": 0}
    settings = {**model.config, "model": {**model.config["model"], "denoiser": denoiser}}
    Checkpoint(settings, model.network, model.tokenizer, model.label).save(tmp_path / "causal")
    with pytest.raises(ValueError, match=r"a diffusion model as `generator`, got .*causal, which goes from left to"):
        convert_classifier(write(tmp_path / "c.ckpt", config()), tmp_path / "c", tmp_path / "causal")


def test_what_goes_with_what(tmp_path: Path):
    folder = generator_of(tmp_path / "generator")
    path = write(tmp_path / "c.ckpt", config())
    for read in (lambda: read_foreign(path), lambda: convert(path, tmp_path / "c")):
        with pytest.raises(ValueError, match=r"which holds a classifier: `convert_classifier` .*`generator`"):
            read()
    with pytest.raises(ValueError, match=r"a classifier in .*generator\.ckpt, which holds a generator: `convert`"):
        convert_classifier(tmp_path / "generator.ckpt", tmp_path / "c", folder)
    with pytest.raises(ValueError, match=r"Expected a Lightning `\.ckpt` of a classifier, got the folder .*generator"):
        convert_classifier(folder, tmp_path / "c", folder)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        convert_classifier(tmp_path / "none.ckpt", tmp_path / "c", folder)
    with pytest.raises(FileNotFoundError, match="Expected a checkpoint in"):
        convert_classifier(path, tmp_path / "c", tmp_path / "none")
    assert not (tmp_path / "c").exists()


def test_the_generator_is_never_replaced(tmp_path: Path):
    run = tmp_path / "run"
    load(generator_of(tmp_path / "generator")).save(run / "checkpoint")
    path = write(tmp_path / "c.ckpt", config())
    before = (run / "checkpoint" / "model.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="Expected another folder"):
        convert_classifier(path, run / "checkpoint", run, overwrite=True)
    with pytest.raises(FileExistsError, match="checkpoint exists"):
        convert_classifier(path, run / "checkpoint", run)
    assert (run / "checkpoint" / "model.safetensors").read_bytes() == before
    convert_classifier(path, run / "checkpoint" / "classifiers" / "noisy", run)
    assert set(load(run).classifiers) == {"noisy"}
    convert_classifier(path, run / "checkpoint" / "classifiers" / "noisy", run, overwrite=True)
