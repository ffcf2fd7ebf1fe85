"""Classifiers of sequences and of hidden states: pooling, prefixes, one-hots, gradients."""

from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from discrete_diffusion.backbones import DiMambaClassifier, DiT, DiTClassifier, HiddenClassifier, Pooling
from discrete_diffusion.backbones.pooling import POOLINGS

VOCAB, HIDDEN, BLOCKS, HEADS, OUTPUTS, PAD = 7, 16, 2, 2, 3, 0
BATCH, LENGTH = 4, 6
HIDDEN_POOLINGS = [pooling for pooling in POOLINGS if pooling != "attention_mask"]


def randomized(network: Any, generator: torch.Generator) -> Any:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network.eval()


def build(generator: torch.Generator, dtype: torch.dtype = torch.float64, **changes: Any) -> DiTClassifier:
    settings: dict[str, Any] = {"cond_size": 12, "pad_id": PAD}
    return randomized(DiTClassifier(VOCAB, HIDDEN, BLOCKS, HEADS, OUTPUTS, **(settings | changes)).to(dtype), generator)


@pytest.fixture
def x(generator: torch.Generator) -> Tensor:
    """Rows without padding, with some of it (leading, too), and of nothing else."""
    x = torch.randint(1, VOCAB, (BATCH, LENGTH), generator=generator)
    x[1, 4:] = PAD
    x[2, :2] = x[2, -1] = PAD
    x[3] = PAD
    return x


@pytest.fixture
def sigma(generator: torch.Generator) -> Tensor:
    return 3 * torch.rand(BATCH, generator=generator, dtype=torch.float64)


def textbook(hidden: Tensor, tokens: Tensor, pooling: str) -> Tensor:
    """One sequence, pooled by hand."""
    kept = [row for row, token in zip(hidden, tokens.tolist(), strict=True) if token != PAD] or list(hidden)
    return {
        "mean": torch.stack(list(hidden)).mean(0),
        "max": torch.stack([column.max() for column in hidden.T]),
        "first": hidden[0],
        "last": hidden[-1],
        "attention_mask": torch.stack(kept).sum(0) / len(kept),
    }[pooling]


@pytest.mark.parametrize("final_norm", [True, False])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_output_is_a_linear_function_of_the_pooled_hidden_states(
    generator: torch.Generator, x: Tensor, sigma: Tensor, pooling: Pooling, causal: bool, final_norm: bool
) -> None:
    network = build(generator, pooling=pooling, causal=causal, final_norm=final_norm)
    trunk = DiT(VOCAB, HIDDEN, BLOCKS, HEADS, cond_size=12, causal=causal).double().eval()
    shared = {name: value for name, value in network.state_dict().items() if name in trunk.state_dict()}
    missing, unexpected = trunk.load_state_dict(shared, strict=False)
    assert unexpected == []
    assert all(name.startswith("output_layer.") for name in missing)  # the trunk has the DiT's names, all of them
    hidden = trunk.encode(x, sigma)
    if final_norm:
        hidden = F.layer_norm(hidden, (HIDDEN,), network.norm_final.weight)
    assert ("norm_final.weight" in network.state_dict()) is final_norm
    pooled = torch.stack([textbook(hidden[row], x[row], pooling) for row in range(BATCH)])
    expected = pooled @ network.linear.weight.T + network.linear.bias
    torch.testing.assert_close(network(x, sigma), expected, rtol=0, atol=1e-12)


def test_poolings_differ(x: Tensor, sigma: Tensor) -> None:
    outputs = [build(torch.Generator().manual_seed(1), pooling=pooling)(x, sigma).detach() for pooling in POOLINGS]
    padded = slice(1, 3)  # without padding, or with nothing else, attention_mask is mean
    for i, one in enumerate(outputs):
        assert all(float((one - other)[padded].abs().amax(-1).min()) > 1e-6 for other in outputs[i + 1 :])
    assert get_args(Pooling) == POOLINGS


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("onehot", [False, True])
def test_prefixes_are_the_loop_over_prefixes(
    generator: torch.Generator, x: Tensor, sigma: Tensor, pooling: Pooling, onehot: bool
) -> None:
    network = build(generator, pooling=pooling, causal=True)
    tokens = F.one_hot(x, VOCAB).double() if onehot else x
    expected = torch.stack([network(tokens[:, : i + 1], sigma) for i in range(LENGTH)], 1)
    torch.testing.assert_close(network.prefixes(tokens, sigma), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("parts", [[0, 1, 2], [3, 1], [0, 0, 2]])
def test_candidates_are_whole_sequences(
    generator: torch.Generator, x: Tensor, sigma: Tensor, pooling: Pooling, recurrent: bool, parts: list[int]
) -> None:
    network: Any = build(generator, pooling=pooling, causal=True)
    if recurrent:
        sizes = {"hidden_size": HIDDEN, "num_blocks": BLOCKS, "state_size": 4, "pooling": pooling, "pad_id": PAD}
        network = randomized(DiMambaClassifier(VOCAB, OUTPUTS, causal=True, **sizes).double(), generator)
    past, read = None, 0
    for part in parts:
        tokens = torch.randint(VOCAB, (BATCH, 5), generator=generator)
        outputs, past = network.candidates(x[:, read : read + part], tokens, sigma, past)
        read += part
        whole = [network(torch.cat((x[:, :read], tokens[:, [i]]), 1), sigma) for i in range(5)]
        torch.testing.assert_close(outputs, torch.stack(whole, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_onehots_are_their_ids_and_carry_the_gradient(
    generator: torch.Generator, x: Tensor, sigma: Tensor, pooling: Pooling
) -> None:
    network = build(generator, pooling=pooling).requires_grad_(False)
    onehots = F.one_hot(x, VOCAB).double().requires_grad_()
    outputs = network(onehots, sigma)
    torch.testing.assert_close(outputs, network(x, sigma), rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(outputs.square().sum(), onehots)
    assert bool(gradient.isfinite().all())
    assert bool((gradient.abs().sum((1, 2)) > 1e-6).all())
    # Away from the corners of the simplex too, the gradient is the derivative. A maximum has kinks, and is left out.
    if pooling != "max":
        inside = (0.8 * onehots.detach() + 0.2 / VOCAB).requires_grad_()
        assert torch.autograd.gradcheck(lambda p: network(p[:2], sigma[:2]), (inside,), fast_mode=True)


def test_rows_of_padding_alone_have_finite_gradients(generator: torch.Generator, sigma: Tensor) -> None:
    network = build(generator, pooling="attention_mask", causal=True)
    pads = F.one_hot(torch.full((BATCH, LENGTH), PAD), VOCAB).double().requires_grad_()
    for outputs in (network(pads, sigma), network.prefixes(pads, sigma)):
        (gradient,) = torch.autograd.grad(outputs.sum(), pads)
        assert bool(gradient.isfinite().all())


def test_time_conditioning(generator: torch.Generator, x: Tensor, sigma: Tensor) -> None:
    network = build(generator)
    assert not torch.allclose(network(x, sigma), network(x, torch.zeros_like(sigma)), atol=1e-3)
    network.time_conditioning = False
    assert torch.equal(network(x, sigma), network(x, torch.zeros_like(sigma)))


def test_rows_are_independent(generator: torch.Generator, x: Tensor, sigma: Tensor) -> None:
    network = build(generator, pooling="attention_mask")
    alone = torch.cat([network(x[i : i + 1], sigma[i : i + 1]) for i in range(BATCH)])
    torch.testing.assert_close(network(x, sigma), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("final_norm", [True, False])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_bfloat16_is_close_to_float32(
    generator: torch.Generator, x: Tensor, sigma: Tensor, pooling: Pooling, final_norm: bool
) -> None:
    network = build(generator, torch.float32, pooling=pooling, causal=True, final_norm=final_norm)
    onehots = F.one_hot(x, VOCAB).float()
    expected = network.prefixes(x, sigma).detach()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        autocast = [network.prefixes(tokens, sigma) for tokens in (x, onehots)]
    network.bfloat16()
    narrow = [network.prefixes(tokens, sigma).detach() for tokens in (x, onehots, onehots.bfloat16())]
    for outputs in autocast + narrow:
        assert outputs.dtype == torch.bfloat16
        assert float((outputs.float() - expected).abs().max()) < 0.05 * float(expected.abs().max())


def test_new_classifiers_return_zeros_and_learn(x: Tensor, sigma: Tensor) -> None:
    classifier = DiTClassifier(VOCAB, HIDDEN, BLOCKS, HEADS, OUTPUTS, dropout=0.0)
    head = HiddenClassifier(HIDDEN, OUTPUTS, mlp_size=8)
    hidden = torch.randn(BATCH, LENGTH, HIDDEN, generator=torch.Generator().manual_seed(0))
    assert torch.equal(classifier(x, sigma), torch.zeros(BATCH, OUTPUTS))
    assert torch.equal(head(hidden, sigma), torch.zeros(BATCH, OUTPUTS))
    y = torch.tensor([0, 1, 2, 1])
    cases: list[tuple[nn.Module, Tensor]] = [(classifier, x), (head, hidden)]
    for network, inputs in cases:
        optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
        for _ in range(100):
            optimizer.zero_grad()
            F.cross_entropy(network(inputs, sigma), y).backward()
            optimizer.step()
        assert float(F.cross_entropy(network(inputs, sigma), y).detach()) < 0.1
        assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())


@pytest.mark.parametrize("mlp_size", [None, 5])
@pytest.mark.parametrize("pooling", HIDDEN_POOLINGS)
def test_hidden_classifier_pools_and_takes_prefixes(
    generator: torch.Generator, sigma: Tensor, pooling: Pooling, mlp_size: int | None
) -> None:
    network = randomized(HiddenClassifier(HIDDEN, OUTPUTS, pooling, mlp_size).double(), generator)
    hidden = torch.randn(BATCH, LENGTH, HIDDEN, generator=generator, dtype=torch.float64)
    normed = F.layer_norm(hidden, (HIDDEN,), network.norm.weight)
    pooled = torch.stack([textbook(row, torch.ones(LENGTH), pooling) for row in normed])
    weights = network.state_dict()
    if mlp_size is None:
        expected = pooled @ weights["head.weight"].T + weights["head.bias"]
    else:
        inner = F.gelu(pooled @ weights["head.0.weight"].T + weights["head.0.bias"], approximate="tanh")
        expected = inner @ weights["head.2.weight"].T + weights["head.2.bias"]
    torch.testing.assert_close(network(hidden, sigma), expected, rtol=0, atol=1e-12)
    loop = torch.stack([network(hidden[:, : i + 1], sigma) for i in range(LENGTH)], 1)
    torch.testing.assert_close(network.prefixes(hidden, sigma), loop, rtol=0, atol=1e-12)


def test_prefixes_need_a_causal_network(generator: torch.Generator, x: Tensor, sigma: Tensor) -> None:
    with pytest.raises(ValueError, match="causal=True"):
        build(generator).prefixes(x, sigma)
    with pytest.raises(ValueError, match="causal=True"):
        build(generator).candidates(x, x, sigma)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 18, "num_heads": 4}, "multiple of 2"),
        ({"num_outputs": 0}, "`num_outputs` >= 1, got 0"),
        ({"num_blocks": 0}, "`num_blocks` >= 1, got 0"),
        ({"dropout": 1.0}, "`dropout` < 1, got 1.0"),
        ({"pooling": "attention_mask"}, "`pad_id` for pooling=attention_mask, got None"),
        ({"pad_id": VOCAB}, "`pad_id` < `vocab_size` = 7, got 7"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "num_blocks": 1,
        "num_heads": HEADS,
        "num_outputs": OUTPUTS,
    }
    with pytest.raises(ValueError, match=message):
        DiTClassifier(**(settings | change))


def test_hidden_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="`pooling` in mean, max, first, last, got attention_mask"):
        HiddenClassifier(HIDDEN, OUTPUTS, "attention_mask")
    with pytest.raises(ValueError, match="`mlp_size` >= 1, got 0"):
        HiddenClassifier(HIDDEN, OUTPUTS, mlp_size=0)
