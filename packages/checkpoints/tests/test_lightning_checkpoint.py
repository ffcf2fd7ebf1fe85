"""Files as the published code writes them: real pickles of omegaconf and transformers, weights in their layout."""

import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_diffusion.backbones import DiT
from discrete_diffusion.checkpoints.published.config import setting
from discrete_diffusion.checkpoints.published.inert import Inert, load_inert
from discrete_diffusion.checkpoints.published.lightning_checkpoint import plain, read_lightning


def published(network: DiT) -> dict[str, Tensor]:
    """A state dict as `Diffusion.state_dict()` gives it, rotary frequencies between the parameters."""
    half = network.head_size // 2
    frequencies = 10_000.0 ** (-torch.arange(half) / half)
    state: dict[str, Tensor] = {}
    for name, weight in network.state_dict().items():
        if name == "blocks.0.norm1.weight":
            state["backbone.rotary_emb.inv_freq"] = frequencies
        state[f"backbone.{name}"] = weight
    return state


def save(path: Path, network: DiT, config: Any, **changes: Any) -> Path:
    """Write a file with the keys of Lightning; the averages are twice the weights."""
    content = {
        "epoch": 0,
        "global_step": 7,
        "pytorch-lightning_version": "2.2.1",
        "state_dict": published(network),
        "loops": {"fit_loop": {"epoch_progress": {"current": {"completed": 0}}}},
        "hyper_parameters": {"config": config},
        "ema": {"decay": 0.999, "num_updates": 7, "shadow_params": [2 * p.detach() for p in network.parameters()]},
        "sampler": {"random_state": None},
        **changes,
    }
    torch.save({name: value for name, value in content.items() if value is not None}, path)
    return path


@pytest.fixture
def network() -> DiT:
    torch.manual_seed(0)
    network = DiT(12, hidden_size=16, num_blocks=2, num_heads=2, cond_size=8, num_classes=3).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def test_averages_get_the_names_of_the_parameters_they_are_of(network: DiT, tmp_path: Path):
    found = read_lightning(save(tmp_path / "a.ckpt", network, {"backbone": "dit"}))
    expected = network.state_dict()
    assert found.averaged is not None
    assert set(found.last) == {f"backbone.{name}" for name in expected} | {"backbone.rotary_emb.inv_freq"}
    for name, weight in expected.items():
        torch.testing.assert_close(found.last[f"backbone.{name}"], weight, rtol=0, atol=0)
        torch.testing.assert_close(found.averaged[f"backbone.{name}"], 2 * weight, rtol=0, atol=0)
    assert torch.equal(
        found.averaged["backbone.rotary_emb.inv_freq"], published(network)["backbone.rotary_emb.inv_freq"]
    )
    assert (found.step, found.unread) == (7, ())


def test_a_configuration_of_omegaconf_is_read_without_it(network: DiT, tmp_path: Path):
    omegaconf = pytest.importorskip("omegaconf")
    written = {
        "model": {"length": 32, "hidden_size": 16, "name": "tiny", "nothing": None, "part": 1e-3},
        "data": {"num_classes": 3, "tags": ["a", 2, {"b": True}]},
        "classifier": {"num_classes": "${data.num_classes}", "twice": "${.num_classes}", "lost": "???"},
        "loader": {"workers": "${eval:\"len(__import__('os').sched_getaffinity(0))\"}"},
    }
    config = omegaconf.OmegaConf.create(written)
    config.data.num_classes = 3  # whatever omegaconf notes of access and change is in the file too
    assert config.classifier.twice == 3
    found = read_lightning(save(tmp_path / "a.ckpt", network, config))
    assert found.config == written
    assert found.unread == ()
    assert setting(found.config, "classifier.twice") == 3
    assert setting(found.config, "classifier.lost", 5) == 5
    with pytest.raises(ValueError, match=r"plain value of `loader\.workers`"):
        setting(found.config, "loader.workers")


def test_a_tokenizer_with_code_is_reported_and_not_run(network: DiT, tmp_path: Path):
    path = save(tmp_path / "a.ckpt", network, {}, hyper_parameters={"config": {"a": 1}, "tokenizer": Path("x")})
    found = read_lightning(path)
    assert found.tokenizer is not None
    assert found.tokenizer.path == found.unread[0].removeprefix("objects of ")
    assert found.tokenizer.path.startswith("pathlib.")


def test_weights_of_other_parts_are_reported(network: DiT, tmp_path: Path):
    state = {**published(network), "limiting_distribution": torch.ones(1), "gen_ppl.total": torch.ones(1)}
    found = read_lightning(save(tmp_path / "a.ckpt", network, {}, state_dict=state))
    assert found.unread == ("the weight gen_ppl.total",)


def test_a_classifier_has_its_own_prefix_and_no_averages(network: DiT, tmp_path: Path):
    weights = {f"classifier_model.{name}": weight for name, weight in network.state_dict().items()}
    state = {**weights, "train_metrics.accuracy.numerator": torch.ones(1), "other": torch.ones(1)}
    found = read_lightning(save(tmp_path / "a.ckpt", network, {}, state_dict=state, ema=None))
    assert (found.kind, found.averaged, found.unread) == ("classifier", None, ("the weight other",))
    assert set(found.last) == set(weights)
    assert read_lightning(save(tmp_path / "b.ckpt", network, {})).kind == "generator"


class Runs:
    """Pickled as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("place", ["top", "config", "state"])
@pytest.mark.parametrize("function", [eval, exec, subprocess.check_call, os.system, os.mkdir, open, getattr])
def test_nothing_in_a_file_is_run(network: DiT, tmp_path: Path, function: Any, place: str):
    trap = tmp_path / "trap"
    arguments = {
        eval: (f"__import__('pathlib').Path({str(trap)!r}).touch()",),
        exec: (f"import pathlib; pathlib.Path({str(trap)!r}).touch()",),
        subprocess.check_call: (["touch", str(trap)],),
        os.system: (f"touch {trap}",),
        os.mkdir: (str(trap),),
        open: (str(trap), "w"),
        getattr: (trap, "touch"),
    }[function]
    payload = Runs(function, *arguments)
    changes = {
        "top": {"callbacks": {"x": payload}},
        "config": {"hyper_parameters": {"config": payload}},
        "state": {"state_dict": {**published(network), "backbone.x": payload}},
    }[place]
    path = save(tmp_path / "a.ckpt", network, {"backbone": "dit"}, **changes)
    if place == "top" and function not in (os.system, os.mkdir):
        assert any(function.__name__ in line for line in read_lightning(path).unread)
    else:
        with pytest.raises(ValueError, match=r"a\.ckpt") as caught:
            read_lightning(path)
        assert "\n" not in str(caught.value)
    assert not trap.exists()


def test_what_is_blocked_is_named(network: DiT, tmp_path: Path):
    path = save(tmp_path / "a.ckpt", network, {"backbone": "dit"}, callbacks={"x": Runs(os.system, "true")})
    with pytest.raises(ValueError, match=r"GLOBAL (posix|nt)\.system whose module (posix|nt) is blocked\.$"):
        read_lightning(path)


def test_what_the_process_allows_elsewhere_is_not_allowed_here(network: DiT, tmp_path: Path):
    path = save(tmp_path / "a.ckpt", network, {"backbone": "dit"}, callbacks={"x": Runs(Path, "y")})
    torch.serialization.add_safe_globals([Path, (Path, "pathlib.PosixPath")])
    try:
        content, names = load_inert(path)
        assert isinstance(content["callbacks"]["x"], Inert)
        assert "pathlib.Path" in names or "pathlib._local.Path" in names
        assert Path in torch.serialization.get_safe_globals()
    finally:
        torch.serialization.clear_safe_globals()


def test_a_state_sets_no_attributes(tmp_path: Path):
    stand_in = type("X", (Inert,), {"path": "a.X"})("argument")
    stand_in.__setstate__({"args": 1, "__class__": int})
    assert stand_in.args == ("argument",)
    assert isinstance(stand_in, Inert)
    assert plain([stand_in, {"a": 1}]) == [None, {"a": 1}]


def test_a_configuration_without_end_is_refused(network: DiT, tmp_path: Path):
    config: dict[str, Any] = {}
    config["a"] = config
    with pytest.raises(ValueError, match=r"The configuration in .*a\.ckpt cannot be read"):
        read_lightning(save(tmp_path / "a.ckpt", network, config))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state_dict": None}, "it has no `state_dict` of tensors"),
        ({"state_dict": {"network.weight": torch.ones(2)}}, "weights under `backbone.` or `classifier_model.` in"),
        ({"hyper_parameters": None}, r"Expected `hyper_parameters\.config`"),
        ({"ema": {"shadow_params": [torch.ones(2)]}}, "as many averages as parameters .* got 1 and "),
        ({"ema": {"decay": 0.9}}, "a list of tensors as `ema.shadow_params`"),
    ],
)
def test_what_is_no_checkpoint_of_theirs_is_refused(network: DiT, tmp_path: Path, changes: Any, message: str):
    path = save(tmp_path / "a.ckpt", network, {"backbone": "dit"}, **changes)
    with pytest.raises(ValueError, match=message):
        read_lightning(path)


def test_averages_of_another_shape_are_named(network: DiT, tmp_path: Path):
    shadows = [parameter.detach() for parameter in network.parameters()]
    shadows[3], shadows[4] = shadows[4], shadows[3]
    path = save(tmp_path / "a.ckpt", network, {"backbone": "dit"}, ema={"shadow_params": shadows})
    with pytest.raises(
        ValueError, match=r"average of backbone\.sigma_map\.mlp\.2\.weight .* shape \(8, 8\), got \(8,\)"
    ):
        read_lightning(path)


def test_damaged_files_are_named_in_one_line(network: DiT, tmp_path: Path):
    whole = save(tmp_path / "a.ckpt", network, {"backbone": "dit"})
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(whole.read_bytes()[:-2000])
    text = tmp_path / "text.ckpt"
    text.write_text("no checkpoint")
    other = tmp_path / "other.ckpt"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02c")
    for path in (cut, text, other):
        with pytest.raises(ValueError, match=rf"{path.name} cannot be read") as caught:
            read_lightning(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_lightning(tmp_path / "none.ckpt")
