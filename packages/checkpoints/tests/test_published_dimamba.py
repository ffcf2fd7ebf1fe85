"""DiMambas of the published code: their layout as modules, so that torch orders, ties and averages as it did there."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_diffusion.backbones import DiMamba
from discrete_diffusion.checkpoints import load
from discrete_diffusion.checkpoints.conversion import convert, read_foreign
from discrete_diffusion.datasets import dna_tokenizer
from discrete_diffusion.guidance import ClassifierFree
from discrete_diffusion.processes import Absorbing, Uniform
from discrete_diffusion.schedules import LogLinear

V, HIDDEN, COND, LAYERS, LENGTH = 12, 20, 8, 2, 10
INNER, STATE, RANK = 40, 16, 2
"""Twice the width, 16 states, and a sixteenth of the width rounded up."""


def group(**parts: nn.Module | None) -> nn.Module:
    """Modules under names, in this order."""
    made = nn.Module()
    for name, part in parts.items():
        if part is not None:
            made.add_module(name, part)
    return made


def direction() -> nn.Module:
    made = group(
        in_proj=nn.Linear(HIDDEN, 2 * INNER, bias=False),
        conv1d=nn.Conv1d(INNER, INNER, 4, groups=INNER, padding=3),
        x_proj=nn.Linear(INNER, RANK + 2 * STATE, bias=False),
        dt_proj=nn.Linear(RANK, INNER),
        out_proj=nn.Linear(INNER, HIDDEN, bias=False),
    )
    made.A_log, made.D = nn.Parameter(torch.zeros(INNER, STATE)), nn.Parameter(torch.zeros(INNER))
    return made


def layer(*, tied: bool, both: bool, modulated: bool) -> nn.Module:
    forward, backward = direction(), direction() if both else None
    if backward is not None and tied:
        backward.in_proj.weight, backward.out_proj.weight = forward.in_proj.weight, forward.out_proj.weight
    return group(
        mixer=group(mamba_fwd=forward, mamba_rev=backward),
        norm=nn.RMSNorm(HIDDEN),
        adaLN_modulation=nn.Linear(COND, 3 * HIDDEN) if modulated else None,
    )


def published(
    *,
    classes: int | None = 3,
    sigma: bool = True,
    tied: bool = True,
    both: bool = True,
    embedding: bool = False,
    seed: int = 0,
) -> nn.Module:
    """The modules of `backbone=dimamba`, random. `embedding` ties the output to the embedding."""
    modulated = sigma or classes is not None
    layers = nn.ModuleList(layer(tied=tied, both=both, modulated=modulated) for _ in range(LAYERS))
    mixer = group(
        embeddings=group(word_embeddings=nn.Embedding(V, HIDDEN)),
        layers=layers,
        adaLN_modulation_final=nn.Linear(COND, 2 * HIDDEN) if modulated else None,
        norm_f=nn.RMSNorm(HIDDEN),
    )
    head = nn.Linear(HIDDEN, V, bias=False)
    if embedding:
        head.weight = mixer.embeddings.word_embeddings.weight
    mlp = nn.Sequential(nn.Linear(256, COND), nn.SiLU(), nn.Linear(COND, COND))
    made = group(
        sigma_map=group(mlp=mlp) if sigma else None,
        cond_map=None if classes is None else group(embedding_table=nn.Embedding(classes + 1, COND)),
        model=group(bimamba=group(backbone=mixer), lm_head=head),
    )
    draw = torch.Generator().manual_seed(seed)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3, generator=draw)
    return made


def ours(network: nn.Module, **changes: Any) -> DiMamba:
    """Our network with the same weights, which are put in its place one by one."""
    state = network.state_dict()
    rows = state.get("cond_map.embedding_table.weight", ())
    sizes = {"cond_size": COND, "num_classes": len(rows) - 1 if len(rows) else None, **changes}
    made: Any = DiMamba(V, HIDDEN, LAYERS, **sizes).eval()
    mixer = "model.bimamba.backbone"
    with torch.no_grad():
        made.vocab_embed.embedding.copy_(state[f"{mixer}.embeddings.word_embeddings.weight"])
        if "sigma_map.mlp.0.weight" in state:
            made.sigma_map.load_state_dict(network.get_submodule("sigma_map").state_dict())
        else:
            made.sigma_map.load_state_dict({name: 0 * weight for name, weight in made.sigma_map.state_dict().items()})
        if len(rows):
            made.cond_map.embedding_table.weight.copy_(rows)
        for block, theirs in zip(made.blocks, network.get_submodule(f"{mixer}.layers"), strict=True):
            for number, state_space in enumerate(block.mixer.directions):
                other: Any = theirs.mixer.mamba_rev if number else theirs.mixer.mamba_fwd
                parts = {name: weight for name, weight in other.state_dict().items() if name[:3] not in ("in_", "out")}
                state_space.load_state_dict(parts)
                for name in ("in_proj", "out_proj"):
                    projections = getattr(block.mixer, name)
                    if number < len(projections):
                        projections[number].weight.copy_(getattr(other, name).weight)
            block.norm.load_state_dict(theirs.norm.state_dict())
            block.adaLN_modulation.load_state_dict(theirs.adaLN_modulation.state_dict())
        made.output_layer.norm_final.weight.copy_(state[f"{mixer}.norm_f.weight"])
        made.output_layer.linear.weight.copy_(state["model.lm_head.weight"])
        final = network.get_submodule(f"{mixer}.adaLN_modulation_final")
        made.output_layer.adaLN_modulation.load_state_dict(final.state_dict())
    return made


def config(**model: Any) -> dict[str, Any]:
    return {
        "diffusion": "uniform",
        "backbone": "dimamba",
        "parameterization": "d3pm",
        "time_conditioning": True,
        "T": 0,
        "sampling": {"steps": 4},
        "training": {"ema": 0.9999, "guidance": {"cond_dropout": 0.1}},
        "data": {"train": "ten_species", "tokenizer_name_or_path": "kuleshov-group/caduceus", "num_classes": 3},
        "model": {
            "hidden_size": HIDDEN,
            "cond_dim": COND,
            "length": LENGTH,
            "n_blocks": LAYERS,
            "dropout": 0.1,
            "bidirectional": True,
            "bidirectional_strategy": "add",
            "bidirectional_weight_tie": True,
            "tie_word_embeddings": False,
            **model,
        },
        "noise": {"type": "loglinear"},
    }


MASKED = {"diffusion": "absorbing_state", "parameterization": "subs", "time_conditioning": False}
LEFT_TO_RIGHT = {"diffusion": "absorbing_state", "parameterization": "ar", "time_conditioning": False}


def save(path: Path, network: nn.Module, published_config: dict[str, Any], averages: nn.Module | None = None) -> Path:
    content: dict[str, Any] = {
        "global_step": 30_000,
        "state_dict": {f"backbone.{name}": weight for name, weight in network.state_dict().items()},
        "hyper_parameters": {"config": published_config},
    }
    if averages is not None:
        shadows = [parameter.detach().clone() for parameter in averages.parameters()]
        content["ema"] = {"decay": 0.9999, "num_updates": 7, "shadow_params": shadows}
    torch.save(content, path)
    return path


def logits(network: Any, y: int | None = 1) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    xt = torch.randint(V, (2, LENGTH), generator=draw)
    with torch.no_grad():
        return network(xt, torch.tensor([0.2, 1.5]), None if y is None else torch.tensor([y, 3]))


def same(found: Any, expected: Any, y: int | None = 1) -> None:
    assert logits(expected, y).std() > 0.1
    torch.testing.assert_close(logits(found, y), logits(expected, y), rtol=0, atol=0)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("classes", [3, None])
def test_a_uniform_model(tmp_path: Path, generator: torch.Generator, tied: bool, classes: int | None):
    network = published(tied=tied, classes=classes)
    path = save(tmp_path / "a.ckpt", network, config(bidirectional_weight_tie=tied))
    convert(path, tmp_path / "made", tokenizer=dna_tokenizer())
    model = load(tmp_path / "made")
    y = None if classes is None else 1
    same(model.network, ours(network, tie_directions=tied), y)
    assert isinstance(model.network, DiMamba)
    assert model.config["backbone"]["tie_directions"] is tied
    assert model.config["backbone"]["dropout"] == 0.1
    assert model.denoiser().process == Uniform(LogLinear(1e-3), V)
    assert (model.length, model.null_label, model.sampler().steps) == (LENGTH, classes, 4)
    guided = [] if y is None else [lambda kernel: ClassifierFree(kernel, gamma=2.0, null_label=3)]
    ids = model.sample(2, y=y, on_kernel=guided, generator=generator)
    assert len(model.decode(ids)) == 2


def test_a_masked_model(tmp_path: Path, generator: torch.Generator):
    network = published()
    found = read_foreign(save(tmp_path / "a.ckpt", network, config() | MASKED), tokenizer=dna_tokenizer())
    model, mask = found.checkpoint, dna_tokenizer().mask_token_id
    same(model.network, ours(network, time_conditioning=False))
    assert model.denoiser().process == Absorbing(LogLinear(1e-3), V, mask)
    assert not (model.sample(2, y=0, generator=generator) == mask).any()
    assert found.notes == ("there are no averaged weights: the last ones were taken",)


@pytest.mark.parametrize("embedding", [False, True])
@pytest.mark.parametrize("tied", [True, False])
def test_what_is_shared_is_averaged_once(tmp_path: Path, tied: bool, embedding: bool):
    network, averages = (published(tied=tied, embedding=embedding, seed=seed) for seed in (0, 1))
    published_config = config(bidirectional_weight_tie=tied, tie_word_embeddings=embedding)
    path = save(tmp_path / "a.ckpt", network, published_config, averages)
    found = read_foreign(path, tokenizer=dna_tokenizer())
    same(found.checkpoint.network, ours(averages, tie_directions=tied))
    assert any("two matrices here" in note for note in found.notes) is embedding
    assert len(found.notes) == embedding
    last = read_foreign(path, weights="last", tokenizer=dna_tokenizer()).checkpoint
    same(last.network, ours(network, tie_directions=tied))


def test_averages_of_another_network_are_refused(tmp_path: Path):
    path = save(tmp_path / "a.ckpt", published(), config(), published(tied=False))
    with pytest.raises(ValueError, match="Expected as many averages as parameters"):
        read_foreign(path, tokenizer=dna_tokenizer())


def test_from_left_to_right_with_labels(tmp_path: Path, generator: torch.Generator):
    network = published(sigma=False, both=False)
    published_config = config(bidirectional=False) | LEFT_TO_RIGHT
    averages = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in averages.parameters():
            parameter.mul_(1.1)
    found = read_foreign(save(tmp_path / "a.ckpt", network, published_config, averages), tokenizer=dna_tokenizer())
    model = load(found.checkpoint.save(tmp_path / "made"))
    same(model.network, ours(averages, causal=True))
    assert model.config["backbone"]["causal"]
    assert model.length == LENGTH - 1
    assert model.sample(2, y=1, generator=generator).shape == (2, LENGTH - 1)


@pytest.mark.parametrize(
    ("network", "published_config", "reason"),
    [
        ({}, config(bidirectional_strategy="ew_multiply"), "its directions are joined by ew_multiply"),
        ({"both": False}, config(bidirectional=False), "reads from left to right alone"),
        ({"sigma": False}, config() | LEFT_TO_RIGHT, "and reads what it predicts"),
        ({"sigma": False, "both": False, "classes": None}, config() | LEFT_TO_RIGHT, "nothing modulates its blocks"),
        ({"sigma": False, "classes": None}, config(temb_strategy="concat"), "nothing modulates its blocks"),
    ],
)
def test_what_ours_does_not_compute_is_refused(
    tmp_path: Path, network: Any, published_config: dict[str, Any], reason: str
):
    path = save(tmp_path / "a.ckpt", published(**network), published_config)
    with pytest.raises(ValueError, match=f"got dimamba, which cannot be converted: .*{reason}") as caught:
        convert(path, tmp_path / "made", tokenizer=dna_tokenizer())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_weights_that_are_not_all_there(tmp_path: Path):
    network = published()
    name = "backbone.model.bimamba.backbone.layers.1.mixer.mamba_rev.D"
    path = save(tmp_path / "a.ckpt", network, config())
    content = torch.load(path, weights_only=True)
    content["state_dict"]["backbone.model.bimamba.backbone.layers.1.mixer.gate"] = content["state_dict"].pop(name)
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"layers\.1\.mixer\.mamba_rev\.D is missing, .*mixer\.gate is unknown"):
        read_foreign(path, tokenizer=dna_tokenizer())
    content["state_dict"][name] = torch.zeros(INNER + 1)
    torch.save(content, path)
    with pytest.raises(ValueError, match=rf"D has the shape \({INNER + 1},\) and not \({INNER},\)"):
        read_foreign(path, tokenizer=dna_tokenizer())


def test_another_dropout_was_not_read(tmp_path: Path):
    found = read_foreign(save(tmp_path / "a.ckpt", published(), config(dropout=0.3)), tokenizer=dna_tokenizer())
    assert found.checkpoint.config["backbone"]["dropout"] == 0.1
    assert any(note.startswith("model.dropout=0.3") for note in found.notes)
