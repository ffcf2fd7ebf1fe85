"""The likelihood of validation data against a sum written out by hand."""

import math
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch

from discrete_diffusion.checkpoints import load
from discrete_diffusion.evaluator.likelihood import measure_likelihood

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
            law = model.network(before, torch.zeros(1), y=y).double().softmax(-1)[0]
        nats -= sum(math.log(law[i, token]) for i, token in enumerate(x))
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
