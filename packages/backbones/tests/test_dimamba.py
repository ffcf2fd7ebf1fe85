"""DiMamba and its classifier against Mamba of transformers and a network assembled by hand."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from discrete_diffusion.backbones.dimamba import DiMamba
from discrete_diffusion.backbones.dimamba_classifier import DiMambaClassifier
from discrete_diffusion.backbones.mamba_block import Mamba
from discrete_diffusion.backbones.pooling import POOLINGS, Pooling, pool

VOCAB, HIDDEN, BLOCKS, STATE, CONV, CLASSES, OUTPUTS, PAD = 7, 16, 2, 3, 4, 3, 2, 0
BATCH, LENGTH = 3, 6
SIZES: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_blocks": BLOCKS,
    "state_size": STATE,
    "conv_size": CONV,
    "cond_size": 12,
}


def randomized(network: Any, generator: torch.Generator) -> Any:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network.eval()


def build(generator: torch.Generator, dtype: torch.dtype = torch.float64, **changes: Any) -> DiMamba:
    return randomized(DiMamba(VOCAB, **(SIZES | {"num_classes": CLASSES} | changes)).to(dtype), generator)


def build_classifier(
    generator: torch.Generator, dtype: torch.dtype = torch.float64, **changes: Any
) -> DiMambaClassifier:
    network = DiMambaClassifier(VOCAB, OUTPUTS, **(SIZES | {"pad_id": PAD} | changes))
    return randomized(network.to(dtype), generator)


@pytest.fixture
def xt(generator: torch.Generator) -> Tensor:
    xt = torch.randint(1, VOCAB, (BATCH, LENGTH), generator=generator)
    xt[0, 4:] = PAD
    xt[1, :2] = PAD
    return xt


@pytest.fixture
def sigma(generator: torch.Generator) -> Tensor:
    return 3 * torch.rand(BATCH, generator=generator, dtype=torch.float64)


@pytest.fixture
def y(generator: torch.Generator) -> Tensor:
    return torch.randint(CLASSES, (BATCH,), generator=generator)


def theirs(mixer: Any, direction: int) -> Any:
    """The Mamba mixer of transformers with the weights of one direction."""
    mamba = pytest.importorskip("transformers.models.mamba.modeling_mamba")
    config = mamba.MambaConfig(
        hidden_size=HIDDEN,
        state_size=STATE,
        conv_kernel=CONV,
        expand=len(mixer.directions[0].D) // HIDDEN,
        num_hidden_layers=1,
        use_conv_bias=True,
    )
    other = mamba.MambaMixer(config, layer_idx=0).double().eval()
    weights = {
        **mixer.directions[direction].state_dict(),
        "in_proj.weight": mixer.in_proj[min(direction, len(mixer.in_proj) - 1)].weight,
        "out_proj.weight": mixer.out_proj[min(direction, len(mixer.out_proj) - 1)].weight,
    }
    other.load_state_dict({name: weight.detach().clone() for name, weight in weights.items()})
    return other


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("expand", [1, 2])
def test_the_mixer_is_transformers_mamba_in_each_direction(
    generator: torch.Generator, tied: bool, causal: bool, expand: int
) -> None:
    mixer = randomized(Mamba(HIDDEN, expand * HIDDEN, STATE, CONV, causal, tied).double(), generator)
    x = torch.randn(BATCH, 40, HIDDEN, generator=generator, dtype=torch.float64)
    expected = theirs(mixer, 0)(x)
    if not causal:
        expected = expected + theirs(mixer, 1)(x.flip(1)).flip(1)
    # Theirs multiplies by rates in float32.
    torch.testing.assert_close(mixer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("labeled", [False, True])
def test_forward_is_the_adaln_network(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor, causal: bool, labeled: bool
) -> None:
    network: Any = build(generator, causal=causal, num_classes=CLASSES if labeled else None)

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight

    condition = F.silu(network.sigma_map(sigma))
    if labeled:
        condition = condition + F.silu(network.cond_map.embedding_table.weight[y])
    x = network.vocab_embed.embedding[xt]
    for block in network.blocks:
        shift, scale, gate = block.adaLN_modulation(condition)[:, None].chunk(3, -1)
        x = x + gate * block.mixer(norm(x, block.norm.weight) * (1 + scale) + shift)
    shift, scale = network.output_layer.adaLN_modulation(condition)[:, None].chunk(2, -1)
    normed = norm(x, network.output_layer.norm_final.weight) * (1 + scale) + shift
    expected = network.output_layer.linear(normed)
    labels = y if labeled else None
    torch.testing.assert_close(network(xt, sigma, labels), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(network.encode(xt, sigma, labels), x, rtol=0, atol=1e-12)


def test_a_new_network_is_uniform_and_has_the_published_initialization(xt: Tensor, sigma: Tensor) -> None:
    torch.manual_seed(0)
    network: Any = DiMamba(VOCAB, hidden_size=64, num_blocks=1)
    assert torch.equal(network(xt, sigma.float()), torch.zeros(BATCH, LENGTH, VOCAB))
    mixer = network.blocks[0].mixer
    for space in mixer.directions:
        torch.testing.assert_close(space.A_log.exp(), torch.arange(1.0, 17).expand(128, 16))
        steps = F.softplus(space.dt_proj.bias.detach())
        assert float(steps.min()) >= 1e-3 * (1 - 1e-3)
        assert float(steps.max()) <= 1e-1 * (1 + 1e-3)
        assert float(steps.log().mean()) == pytest.approx(-2 * torch.tensor(10.0).log().item(), abs=0.3)
        assert float(space.dt_proj.weight.detach().abs().max()) <= 0.5  # the rank, 64 / 16, to the power -1/2
    assert mixer.directions[0].x_proj.weight.shape == (4 + 2 * 16, 128)


def test_tied_directions_share_the_projections_alone(generator: torch.Generator) -> None:
    count = {tied: sum(p.numel() for p in build(generator, tie_directions=tied).parameters()) for tied in (True, False)}
    inner = 2 * HIDDEN
    assert count[False] - count[True] == BLOCKS * (HIDDEN * 2 * inner + inner * HIDDEN)
    names = [name for name in build(generator).state_dict() if name.startswith("blocks.0.mixer.directions")]
    assert len(names) == 2 * 7


def test_causal_logits_do_not_read_the_future(generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor) -> None:
    causal, bidirectional = build(generator, causal=True), build(generator)
    for cut in range(1, LENGTH):
        other = xt.clone()
        other[:, cut:] = (other[:, cut:] + 1) % VOCAB
        torch.testing.assert_close(causal(other, sigma, y)[:, :cut], causal(xt, sigma, y)[:, :cut], rtol=0, atol=1e-12)
        changed = (bidirectional(other, sigma, y) - bidirectional(xt, sigma, y))[:, :cut].abs().amax(-1)
        assert bool((changed > 1e-9).all())
        assert bool(((causal(other, sigma, y) - causal(xt, sigma, y))[:, cut:].abs().amax(-1) > 1e-9).all())


def compositions(length: int) -> list[list[int]]:
    if length == 0:
        return [[]]
    return [[first, *rest] for first in range(1, length + 1) for rest in compositions(length - first)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_every_split_is_the_whole(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor, dtype: torch.dtype, tolerance: float
) -> None:
    network = build(generator, dtype, causal=True)
    expected = network.encode(xt, sigma, y)
    for lengths in compositions(LENGTH):
        past, hiddens = None, []
        for tokens in xt.split(lengths, dim=1):
            hidden, past = network.extend(tokens, sigma, y, past)
            hiddens.append(hidden)
        torch.testing.assert_close(torch.cat(hiddens, 1), expected, rtol=tolerance, atol=tolerance)
        assert past is not None
        assert [window.shape for window, _ in past] == [(BATCH, 2 * HIDDEN, CONV - 1)] * BLOCKS
        assert [state.shape for _, state in past] == [(BATCH, 2 * HIDDEN, STATE)] * BLOCKS


def test_gradients_flow_into_the_past_and_leave_it_as_it_is(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor
) -> None:
    network = build(generator, causal=True).requires_grad_(False)
    _, past = network.extend(xt[:, :3], sigma, y)
    flat = [tensor.detach().clone().requires_grad_() for pair in past for tensor in pair]

    def last(*tensors: Tensor) -> Tensor:
        pairs = tuple(zip(tensors[::2], tensors[1::2], strict=True))
        return network.extend(xt[:, 3:5], sigma, y, pairs)[0]

    before = [tensor.detach().clone() for tensor in flat]
    assert torch.autograd.gradcheck(last, tuple(flat), fast_mode=True)
    assert all(torch.equal(a, b) for a, b in zip(before, flat, strict=True))


def test_mixtures_of_tokens_extend_too(generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor) -> None:
    network = build(generator, causal=True)
    onehots = F.one_hot(xt, VOCAB).double()
    torch.testing.assert_close(network.extend(onehots, sigma, y)[0], network.encode(xt, sigma, y), rtol=0, atol=1e-12)


def test_only_a_causal_network_can_be_extended(generator: torch.Generator, xt: Tensor, sigma: Tensor) -> None:
    with pytest.raises(ValueError, match="causal=True"):
        build(generator).extend(xt, sigma)


def test_decode_of_encode_is_forward_and_at_selects(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor
) -> None:
    network = build(generator)
    hidden, at = network.encode(xt, sigma, y), xt > 2
    assert torch.equal(network.decode(hidden, sigma, y), network(xt, sigma, y))
    assert torch.equal(network.decode(hidden, sigma, y, at), network(xt, sigma, y, at))
    torch.testing.assert_close(network(xt, sigma, y, at), network(xt, sigma, y)[at], rtol=0, atol=1e-12)
    assert network(xt, sigma, y, torch.zeros_like(at)).shape == (0, VOCAB)
    row, column = at.nonzero(as_tuple=True)
    tokens = network.decode_tokens(hidden[row, column], sigma[row], y[row])
    torch.testing.assert_close(tokens, network(xt, sigma, y, at), rtol=0, atol=1e-12)


def test_labels_and_time(generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor) -> None:
    network = build(generator)
    null = torch.full((BATCH,), CLASSES)
    torch.testing.assert_close(network(xt, sigma), network(xt, sigma, null), rtol=0, atol=1e-12)
    assert not torch.allclose(network(xt, sigma), network(xt, sigma, y), atol=1e-3)
    blind = copy.deepcopy(network)
    blind.time_conditioning = False
    assert torch.equal(blind(xt, sigma), network(xt, torch.zeros_like(sigma)))
    assert not torch.allclose(network(xt, sigma), blind(xt, sigma), atol=1e-3)
    with pytest.raises(ValueError, match="num_classes"):
        build(generator, num_classes=None)(xt, sigma, y)


def test_dropout_is_on_in_training_alone(generator: torch.Generator, xt: Tensor, sigma: Tensor) -> None:
    network = build(generator, dropout=0.5)
    assert torch.equal(network(xt, sigma), network(xt, sigma))
    network.train()
    assert not torch.equal(network(xt, sigma), network(xt, sigma))


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_reach_every_parameter(generator: torch.Generator, xt: Tensor, sigma: Tensor, causal: bool) -> None:
    network = build(generator, causal=causal)
    (network(xt, sigma, torch.tensor([0, 1, CLASSES])) * torch.randn(VOCAB, generator=generator)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0) or name.endswith("table.weight"), name


@pytest.mark.parametrize("causal", [False, True])
def test_bfloat16_is_close_to_float32(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor, causal: bool
) -> None:
    network = build(generator, torch.float32, causal=causal)
    expected = network(xt, sigma, y).detach()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        autocast = network(xt, sigma, y)
        assert network.encode(xt, sigma, y).dtype == torch.float32
    narrow = network.bfloat16()(xt, sigma, y).detach()
    for logits in (autocast, narrow):
        assert logits.dtype == torch.bfloat16
        assert float((logits.float() - expected).abs().max()) < 0.1 * float(expected.abs().max())


def test_gradients_under_autocast_are_close(generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor) -> None:
    network = build(generator, torch.float32)

    def gradient() -> Tensor:
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(network(xt, sigma, y).float().square().sum(), parameters)
        return torch.cat([g.flatten() for g in gradients])

    expected = gradient()
    with torch.autocast("cpu", torch.bfloat16):
        narrow = gradient()
    assert float((narrow - expected).norm()) < 0.3 * float(expected.norm())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_classifier_pools_the_normed_trunk(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, pooling: Pooling, causal: bool
) -> None:
    network = build_classifier(generator, pooling=pooling, causal=causal)
    trunk = DiMamba(VOCAB, **SIZES, causal=causal).double().eval()
    shared = {name: value for name, value in network.state_dict().items() if name in trunk.state_dict()}
    missing, unexpected = trunk.load_state_dict(shared, strict=False)
    assert unexpected == []
    assert all(name.startswith("output_layer.") for name in missing)  # the trunk has the DiMamba's names, all of them
    hidden = network.norm_final(trunk.encode(xt, sigma))
    weight = xt.ne(PAD).double() if pooling == "attention_mask" else None
    expected = network.linear(pool(hidden, pooling, weight))
    torch.testing.assert_close(network(xt, sigma), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("onehot", [False, True])
def test_prefixes_are_the_loop_over_prefixes(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, pooling: Pooling, onehot: bool
) -> None:
    network = build_classifier(generator, pooling=pooling, causal=True)
    tokens = F.one_hot(xt, VOCAB).double() if onehot else xt
    expected = torch.stack([network(tokens[:, : i + 1], sigma) for i in range(LENGTH)], 1)
    torch.testing.assert_close(network.prefixes(tokens, sigma), expected, rtol=0, atol=1e-12)


def test_onehots_are_their_ids_and_carry_the_gradient(generator: torch.Generator, xt: Tensor, sigma: Tensor) -> None:
    network = build_classifier(generator).requires_grad_(False)
    onehots = F.one_hot(xt, VOCAB).double().requires_grad_()
    torch.testing.assert_close(network(onehots, sigma), network(xt, sigma), rtol=0, atol=1e-12)
    inside = (0.8 * onehots.detach() + 0.2 / VOCAB).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: network(p, sigma), (inside,), fast_mode=True)


def test_a_new_classifier_returns_zeros_and_learns(xt: Tensor, sigma: Tensor) -> None:
    torch.manual_seed(0)
    network = DiMambaClassifier(VOCAB, 3, **SIZES, dropout=0.0)
    sigma, classes = sigma.float(), torch.tensor([0, 1, 2])
    assert torch.equal(network(xt, sigma), torch.zeros(BATCH, 3))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(network(xt, sigma), classes).backward()
        optimizer.step()
    assert float(F.cross_entropy(network(xt, sigma), classes).detach()) < 0.1


def test_prefixes_need_a_causal_network(generator: torch.Generator, xt: Tensor, sigma: Tensor) -> None:
    with pytest.raises(ValueError, match="causal=True"):
        build_classifier(generator).prefixes(xt, sigma)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_blocks": 0}, "`num_blocks` >= 1, got 0"),
        ({"state_size": 0}, "`state_size` >= 1, got 0"),
        ({"conv_size": 0}, "`conv_size` >= 1, got 0"),
        ({"expand": -1}, "`expand` >= 1, got -1"),
        ({"dropout": 1.0}, "`dropout` < 1, got 1.0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiMamba(VOCAB, **(SIZES | change))
    with pytest.raises(ValueError, match=message):
        DiMambaClassifier(VOCAB, OUTPUTS, **(SIZES | change))


def test_settings_of_one_network_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="`num_classes` >= 1 or None, got 0"):
        DiMamba(VOCAB, **SIZES, num_classes=0)
    with pytest.raises(ValueError, match="`num_outputs` >= 1, got 0"):
        DiMambaClassifier(VOCAB, 0, **SIZES)
    with pytest.raises(ValueError, match="`pad_id` for pooling=attention_mask, got None"):
        DiMambaClassifier(VOCAB, OUTPUTS, **SIZES, pooling="attention_mask")
    with pytest.raises(ValueError, match="`pad_id` < `vocab_size` = 7, got 7"):
        DiMambaClassifier(VOCAB, OUTPUTS, **SIZES, pad_id=VOCAB)
