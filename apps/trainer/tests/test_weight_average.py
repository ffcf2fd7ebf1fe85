from math import factorial
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn

from discrete_diffusion.trainer.weight_average import EMA, WarmupEMA


class Line(L.LightningModule):
    """One parameter, which is 5 at first and k squared after step k."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([5.0], dtype=torch.float64))


def average_after(steps: int, decay: float) -> float:
    callback, module = WarmupEMA(decay), Line()
    callback.setup(None, module, "fit")
    for step in range(1, steps + 1):
        module.weight.data.fill_(step**2)
        callback.on_train_batch_end(SimpleNamespace(global_step=step), module, None, None, step - 1)
    callback.on_train_end(None, module)
    return module.weight.item()


@pytest.mark.parametrize("n", [1, 2, 3, 50])
def test_average_is_the_closed_form(n: int):
    """With d_j = (1 + j) / (10 + j), the product of d_j for k < j <= n is (n + 1)! (k + 10)! / ((k + 1)! (n + 10)!)."""

    def kept(k: int) -> float:
        return factorial(n + 1) * factorial(k + 10) / (factorial(k + 1) * factorial(n + 10))

    expected = 5 * kept(0) + sum(9 / (10 + k) * kept(k) * k**2 for k in range(1, n + 1))
    assert average_after(n, 0.9999) == pytest.approx(expected, rel=1e-12)


def test_decay_is_constant_once_it_has_reached_its_limit():
    eight, nine, ten = (average_after(n, 0.5) for n in (8, 9, 10))  # (1 + 8) / (10 + 8) is 0.5
    assert nine == pytest.approx((eight + 81) / 2)
    assert ten == pytest.approx((nine + 100) / 2)
    assert average_after(9, 0.9999) == pytest.approx(average_after(8, 0.9999) * 10 / 19 + 81 * 9 / 19)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.99, 1.0])
def test_one_call_for_all_weights_gives_the_average_of_lightning(dtype: torch.dtype, tolerance: float, decay: float):
    averages = []
    for callback in (EMA(decay), EMAWeightAveraging(decay=decay)):
        module = L.LightningModule()
        module.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to(dtype)
        torch.manual_seed(0)
        callback.setup(None, module, "fit")
        for step in range(1, 6):
            for parameter in module.parameters():
                parameter.data.normal_()
            module.layers[1].running_mean.normal_()
            callback.on_train_batch_end(SimpleNamespace(global_step=step), module, None, None, step - 1)
        last = [parameter.clone() for parameter in module.parameters()]
        callback.on_train_end(None, module)
        averages.append([*module.parameters(), module.layers[1].running_mean])
    torch.testing.assert_close(averages[0], averages[1], rtol=0, atol=tolerance)
    assert decay == 0 or not torch.equal(averages[0][0], last[0])


def test_refuses_a_decay_beyond_1():
    with pytest.raises(ValueError, match=r"Expected `decay` in \[0, 1\], got 1\.5"):
        EMA(1.5)


@pytest.mark.filterwarnings("default")
def test_resumed_average_counts_its_updates_on(run, tmp_path: Path):
    average = "callbacks.average._target_=discrete_diffusion.trainer.weight_average.WarmupEMA"
    options = [average, "steps=6", "validate_every=3", "callbacks.checkpoints.save_top_k=-1", "preview.samples=0"]
    whole = run(tmp_path / "whole", *options)
    half = tmp_path / "whole" / "checkpoints" / "step-000003.ckpt"
    assert torch.load(half, weights_only=True)["averaging_state"]["n_averaged"] == 4
    resumed = run(tmp_path / "resumed", *options, f"resume={half}")
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], weight), name


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_impossible_decay_is_refused(decay: float):
    with pytest.raises(ValueError, match="Expected 0 <= `decay` < 1"):
        WarmupEMA(decay)
