"""Losses and kernels against their formulas over the whole vocabulary, differentiated automatically."""

import pytest
import torch
import torch.nn.functional as F

from discrete_diffusion.processes import (
    Absorbing,
    AutoregressiveNLL,
    ContinuousNELBO,
    CrossEntropy,
    DiscreteNELBO,
    LatentDenoiser,
    Marginal,
    Mean,
    NetworkDenoiser,
    NextToken,
    Uniform,
    token_sums,
)
from discrete_diffusion.processes.process import log1mexp, pick
from discrete_diffusion.schedules import LogLinear

B, L, V = 6, 4, 7
PROCESSES = {
    "absorbing": Absorbing(LogLinear(), V, mask_id=2),
    "uniform": Uniform(LogLinear(), V),
    "uniform-mean": Uniform(LogLinear(), V, Mean()),
    "marginal": Marginal(LogLinear(), [1.0 + i for i in range(V)]),
    "marginal-mean": Marginal(LogLinear(), [1.0 + i for i in range(V)], Mean()),
}


class Reference:
    """The formulas as printed: every pass over the vocabulary written out."""

    def __init__(self, process):
        self.process, self.masks = process, isinstance(process, Absorbing)

    def log_x0(self, logits, xt):
        if not self.masks:
            return logits.log_softmax(-1)
        is_mask = torch.arange(V) == self.process.mask_id
        predicted = logits.masked_fill(is_mask, -torch.inf).log_softmax(-1)
        return torch.where((xt != self.process.mask_id)[..., None], F.one_hot(xt, V).to(logits.dtype).log(), predicted)

    def leave_one_out(self, log_x0, xt, t):
        if getattr(self.process, "parameterization", None) != Mean():
            return log_x0
        sigma = self.process.schedule.sigma(t)[:, None]
        return (log_x0 - self._evidence(log_x0, xt, sigma)).log_softmax(-1)

    def mean(self, log_x0, xt, t):
        sigma = self.process.schedule.sigma(t)[:, None]
        log_weights = self.leave_one_out(log_x0, xt, t) + self._evidence(log_x0, xt, sigma)
        return log_weights.log_softmax(-1).masked_fill(log_weights == -torch.inf, -torch.inf)

    def log_posterior(self, log_x0, xt, t, s):
        sigma_t, sigma_s = self.process.schedule.sigma(t)[:, None], self.process.sigma_or_data(s)[:, None]
        if self.masks:
            log_stay = log1mexp(-sigma_s) - log1mexp(-sigma_t)
            log_reveal = log1mexp(sigma_s - sigma_t) - sigma_s - log1mexp(-sigma_t)
            is_mask = torch.arange(V) == self.process.mask_id
            stepped = torch.where(is_mask, log_stay[..., None], log_x0 + log_reveal[..., None])
            carried = torch.full_like(log_x0, -torch.inf).scatter(-1, xt[..., None], 0.0)
            return torch.where((xt == self.process.mask_id)[..., None], stepped, carried)
        marginal = self._log_marginal(self.leave_one_out(log_x0, xt, t), sigma_s)
        return (self._evidence(log_x0, xt, sigma_t - sigma_s) + marginal).log_softmax(-1)

    def diffusion_loss(self, log_x0, x0, xt, t):
        schedule = self.process.schedule
        sigma, slope = schedule.sigma(t)[:, None], schedule.alpha_prime(t)[:, None]
        if self.masks:
            return torch.where(xt == self.process.mask_id, slope / -torch.expm1(-sigma) * pick(log_x0, x0), 0.0)
        log_noise, lost = self.process.log_noise(log_x0), -torch.expm1(-sigma)
        log_q_x0 = torch.logaddexp(-sigma, lost.log() + log_noise[x0])
        log_q_xt = torch.where(xt == x0, log_q_x0, lost.log() + log_noise[xt])
        log_m = self._log_marginal(self.leave_one_out(log_x0, xt, t), sigma)
        log_m_x0, log_m_xt, noise = pick(log_m, x0), pick(log_m, xt), log_noise.exp()
        other_q = lost * (noise @ log_noise - noise[x0] * log_noise[x0]) + torch.xlogy(lost, lost) * (1 - noise[x0])
        kl = log_q_x0.exp() * (log_q_x0 - log_m_x0) + other_q - lost * (log_m @ noise - noise[x0] * log_m_x0)
        d = log_m_xt - log_q_xt
        return -slope * sigma.exp() * (log_noise[xt] - log_q_xt).exp() * (kl + torch.expm1(-d) + d)

    def step_loss(self, log_x0, x0, xt, t, s):
        log_q = self.log_posterior(F.one_hot(x0, V).to(log_x0.dtype).log(), xt, t, s)
        gap = (log_q - self.log_posterior(log_x0, xt, t, s)).masked_fill(log_q == -torch.inf, 0.0)
        return (log_q.exp() * gap).sum(-1)

    def cross_entropy(self, log_x0, x0, xt):
        return -pick(log_x0, x0)

    def _evidence(self, like, xt, sigma):
        replaced = log1mexp(-sigma) + self.process.log_noise(like)[xt]
        return torch.where(F.one_hot(xt, V).bool(), torch.logaddexp(-sigma, replaced)[..., None], replaced[..., None])

    def _log_marginal(self, log_x0, sigma):
        return torch.logaddexp(log_x0 - sigma[..., None], log1mexp(-sigma)[..., None] + self.process.log_noise(log_x0))


@pytest.fixture(params=PROCESSES)
def process(request):
    return PROCESSES[request.param]


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=[1, 3 * V, 2**18], ids=["one-row", "three-rows", "one-chunk"])
def chunk(request, monkeypatch):
    monkeypatch.setitem(token_sums._CHUNK, "cpu", request.param)


def batch(process, dtype, generator):
    x0 = torch.randint(V - 1, (B, L), generator=generator)
    x0 = x0 + (x0 >= getattr(process, "mask_id", V)).long()
    # At t = 1 the terms of the bound cancel to 1e-4, in float32.
    t = torch.tensor([1.0 if dtype == torch.float64 else 0.95, 0.8, 0.6, 0.3, 0.1, 0.01], dtype=dtype)
    logits = 2 * torch.randn(B, L, V, generator=generator, dtype=torch.float64).to(dtype)
    return logits.requires_grad_(), x0, process.corrupt(x0, t, generator=generator), t


def assert_equal(actual, expected, dtype):
    bound = 1e-5 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(actual, expected, rtol=bound, atol=bound)


@pytest.mark.parametrize("name", ["diffusion_loss", "step_loss", "cross_entropy"])
@pytest.mark.parametrize("normalized", [False, True], ids=["logits", "log-probs"])
def test_losses_and_gradients(process, dtype, name, normalized, chunk, generator):
    logits, x0, xt, t = batch(process, dtype, generator)
    times = {"diffusion_loss": (t,), "step_loss": (t, t / 2), "cross_entropy": ()}[name]
    reference = Reference(process)
    expected = getattr(reference, name)(reference.log_x0(logits, xt), x0, xt, *times)
    scores = process.log_x0(logits, xt) if normalized else logits
    actual = getattr(process, name)(scores, x0, xt, *times)
    assert_equal(actual, expected, dtype)
    weights = torch.randn(B, L, generator=generator, dtype=torch.float64).to(dtype)
    gradients = [torch.autograd.grad((weights * loss).sum(), logits)[0] for loss in (actual, expected)]
    assert_equal(*gradients, dtype)


def test_kernels(process, dtype, generator):
    logits, _, xt, t = batch(process, dtype, generator)
    reference, log_x0 = Reference(process), process.log_x0(logits, xt)
    assert_equal(log_x0, reference.log_x0(logits, xt), dtype)
    assert_equal(process.leave_one_out(log_x0, xt, t), reference.leave_one_out(log_x0, xt, t), dtype)
    assert_equal(process.mean(log_x0, xt, t), reference.mean(log_x0, xt, t), dtype)
    for s in (0 * t, 0.3 * t, 0.99 * t):
        assert_equal(process.log_posterior(log_x0, xt, t, s), reference.log_posterior(log_x0, xt, t, s), dtype)


def test_gradcheck(process, chunk, generator):
    logits, x0, xt, t = batch(process, torch.float64, generator)
    assert torch.autograd.gradcheck(lambda z: process.diffusion_loss(z, x0, xt, t), logits)


def test_the_smallest_probabilities_keep_their_gradients():
    process = Uniform(LogLinear(), V)
    logits = torch.zeros(1, 1, V)
    logits[..., 0] = 200.0
    logits.requires_grad_()
    x0, t = torch.tensor([[1]]), torch.tensor([1e-3])
    (gradient,) = torch.autograd.grad(process.cross_entropy(logits, x0, x0).sum(), logits)
    assert gradient[0, 0].tolist() == [1, -1] + [0] * (V - 2)
    loss = process.diffusion_loss(logits, 0 * x0, 0 * x0, 0 * t)
    assert loss.isfinite().all()
    assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("autocast", [False, True])
def test_losses_of_bfloat16_logits_are_float32(process, autocast, generator):
    logits, x0, xt, t = batch(process, torch.float32, generator)
    coarse = logits.detach().bfloat16().requires_grad_()
    expected = process.diffusion_loss(coarse.float(), x0, xt, t)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        scores = coarse if getattr(process, "parameterization", None) != Mean() else coarse.float()
        loss = process.diffusion_loss(scores, x0, xt, t)
    assert loss.dtype == torch.float32
    assert_equal(loss, expected, torch.float32)
    gradients = [torch.autograd.grad(x.sum(), coarse)[0] for x in (loss, expected)]
    assert gradients[0].dtype == torch.bfloat16
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("objective", [ContinuousNELBO, CrossEntropy, lambda process: DiscreteNELBO(process, 4)])
def test_a_latent_network_decodes_only_the_unknown_positions(process, objective, tiny_network):
    network = tiny_network(V, causal=False)
    latent, plain = (
        NetworkDenoiser(process, network),
        NetworkDenoiser(process, lambda xt, sigma, **k: network(xt, sigma)),
    )
    assert isinstance(latent, LatentDenoiser)
    decoded, decode = [], network.decode
    network.decode = lambda hidden, sigma, y=None, at=None: decoded.append(at) or decode(hidden, sigma, y, at)
    x0 = torch.tensor([[0, 1, 3, 4], [6, 5, 4, 3]])

    def draw():
        return torch.Generator().manual_seed(1)

    losses = [objective(process).loss(denoiser, x0, generator=draw()) for denoiser in (latent, plain, plain.__call__)]
    assert (decoded[0] is None) == (not isinstance(process, Absorbing))
    for loss in losses[:2]:
        assert_equal(loss, losses[2], torch.float64)
    gradients = [torch.autograd.grad(loss.sum(), next(iter(network.parameters())))[0] for loss in losses]
    for gradient in gradients[:2]:
        assert_equal(gradient, gradients[2], torch.float64)


def test_a_process_with_a_prediction_of_its_own_keeps_it(generator):
    class Restricted(Uniform):
        losses_take_logits = False

        def log_x0(self, logits, xt):
            return logits.index_fill(-1, torch.tensor([0]), -torch.inf).log_softmax(-1)

    process, logits = Restricted(LogLinear(), V), torch.randn(2, 3, V, generator=generator)
    x0 = torch.randint(1, V, (2, 3), generator=generator)
    loss = CrossEntropy(process).loss(NetworkDenoiser(process, lambda xt, sigma: logits), x0, generator=generator)
    torch.testing.assert_close(loss, -pick(process.log_x0(logits, x0), x0))


def test_next_token_loss(tiny_network):
    network = tiny_network(V, causal=True)
    model, x0 = NextToken(network, bos_id=0), torch.tensor([[0, 1, 3, 4], [6, 5, 4, 3]])
    losses = [AutoregressiveNLL().loss(model, x0), -pick(model(x0), x0)]
    assert_equal(*losses, torch.float64)
    gradients = [torch.autograd.grad(loss.sum(), next(iter(network.parameters())))[0] for loss in losses]
    assert_equal(*gradients, torch.float64)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_denoisers_of_half_precision_networks_give_float32(dtype, generator):
    class Coarse:
        """Network with hidden states, whose logits are the hidden states."""

        def __call__(self, xt, sigma, y=None, at=None):
            return self.decode(self.encode(xt, sigma), sigma, at=at)

        def encode(self, xt, sigma, y=None):
            return torch.randn(*xt.shape, 5, generator=torch.Generator().manual_seed(0)).to(dtype)

        def decode(self, hidden, sigma, y=None, at=None):
            return hidden if at is None else hidden[at]

    for model in (NetworkDenoiser(Absorbing(LogLinear(), 5, mask_id=4), Coarse()), NextToken(Coarse(), 0)):
        x, t = torch.full((2, 3), 4), torch.full((2,), 0.5)
        for at in (None, torch.tensor([[True, False, True], [False, False, False]])):
            assert model(x, t, at=at).dtype == torch.float32
            assert model.decode(model.encode(x, t), x, t, at=at).dtype == torch.float32
            assert torch.equal(model.logits(x, t, at=at), Coarse()(x, t, at=at).float())
