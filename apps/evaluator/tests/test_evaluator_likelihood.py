"""Likelihood of validation data against a sum written out by hand."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch
from omegaconf import DictConfig

from discrete_diffusion.checkpoints import load
from discrete_diffusion.evaluator.evaluate import evaluate
from discrete_diffusion.evaluator.likelihood import measure_likelihood, measure_order_likelihood
from discrete_diffusion.guidance import LowestEntropy

CPU = torch.device("cpu")


def test_an_autoregressive_likelihood_is_the_sum_over_the_chain(checkpoint: Callable[[str], Path]):
    model = load(checkpoint("ar"))
    rows = model.data().validation
    seen: list[int] = []
    measured = measure_likelihood(model, rows, repeats=1, batch_size=4, device=CPU, advance=seen.append)
    assert sum(seen) == len(rows)
    nats, tokens = 0.0, 0
    for row in rows:
        x, y = row["input_ids"].tolist(), row["label"][None]
        before = torch.tensor([[model.tokenizer.bos_token_id, *x[:-1]]])
        with torch.no_grad():
            distribution = model.network(before, torch.zeros(1), y=y).double().softmax(-1)[0]
        nats -= sum(math.log(distribution[i, token]) for i, token in enumerate(x))
        tokens += sum(token != model.tokenizer.pad_token_id for token in x)
    assert measured.nats_per_sequence == pytest.approx(nats / len(rows), rel=1e-5)
    assert measured.tokens == tokens
    assert measured.bits_per_token == pytest.approx(nats / tokens / math.log(2), rel=1e-5)


def test_draws_of_the_noise_are_averaged_over_each_row(checkpoint: Callable[[str], Path]):
    model = load(checkpoint("udlm"))
    rows = model.data().validation
    measured = measure_likelihood(model, rows, repeats=3, batch_size=64, device=CPU, advance=lambda _: None, seed=5)
    batch, generator = rows[:], torch.Generator().manual_seed(5)
    totals = []
    for _ in range(3):
        with torch.no_grad():
            terms = model.objective().terms(model.denoiser(), batch["input_ids"], batch["label"], generator=generator)
        totals.append((terms.prior + terms.diffusion + terms.reconstruction).sum(1).tolist())
    means = [mean(draws) for draws in zip(*totals, strict=True)]
    assert measured.nats_per_sequence == pytest.approx(mean(means), rel=1e-5)
    assert measured.nats_per_sequence_error == pytest.approx(stdev(means) / math.sqrt(len(means)), rel=1e-4)
    assert sum(measured.parts.values()) == pytest.approx(measured.nats_per_sequence)


def test_the_likelihood_under_an_order_is_the_sum_over_its_steps(checkpoint: Callable[[str], Path]):
    model = load(checkpoint("mdlm"))
    rows = model.data().validation.select(range(3))
    exact, evaluations = measure_order_likelihood(
        model, rows, LowestEntropy(), batch_size=2, device=CPU, advance=lambda _: None
    )
    assert evaluations == model.length
    denoiser, mask_id, nats = model.denoiser(), model.sampler().process.mask_id, 0.0  # type: ignore[attr-defined]
    for row in rows:
        x0, y = row["input_ids"], row["label"][None]
        x = torch.full_like(x0, mask_id)
        while (masked := x == mask_id).any():
            with torch.no_grad():
                distribution = denoiser(x[None], torch.tensor([masked.double().mean()]), y=y)[0].double()
            (position,) = LowestEntropy()(distribution[masked], masked[None])[0].nonzero()[:, 0].tolist()
            nats -= float(distribution[position, x0[position]])
            x[position] = x0[position]
    assert exact.nats_per_sequence == pytest.approx(nats / 3, rel=1e-5)


def test_orders_are_rows_beside_the_bound(
    configured: Callable[..., DictConfig],
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    out, small = tmp_path / "out", ["validation_rows=4", "guidance=none", "samples=2", "seeds=[1]", "sampling.steps=2"]
    orders = "likelihood_orders=[highest_confidence,lowest_entropy]"
    evaluate(configured(*small, orders, f"checkpoint={checkpoint('mdlm')}", f"output={out}"))
    entry = json.loads((out / "summary.json").read_text())["likelihood"]
    assert list(entry["orders"]) == ["highest_confidence", "lowest_entropy"]
    for row in entry["orders"].values():
        assert row["sequences"] == 4
        assert row["evaluations_per_sequence"] == load(checkpoint("mdlm")).length
    assert "highest confidence first (exact)" in capsys.readouterr().out
    assert "lowest entropy first (exact)" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("kind", "overrides", "message"),
    [
        ("udlm", ["likelihood_orders=[lowest_entropy]"], "only masked diffusion reveals tokens in an order"),
        ("ar", ["likelihood_orders=[lowest_entropy]"], "only masked diffusion reveals tokens in an order"),
        (
            "mdlm",
            ["likelihood_orders=[random]"],
            "largest_margin, lowest_entropy, got random",
        ),
        ("mdlm", ["likelihood_orders=[lowest_entropy]", "likelihood=false"], "Expected `likelihood=true`"),
    ],
)
def test_an_order_without_a_likelihood_is_refused(
    kind: str,
    overrides: list[str],
    message: str,
    configured: Callable[..., DictConfig],
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
):
    with pytest.raises(ValueError, match=message):
        evaluate(configured(*overrides, f"checkpoint={checkpoint(kind)}", f"output={tmp_path / 'out'}"))
    assert not (tmp_path / "out").exists()
