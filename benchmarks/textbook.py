"""Formulas written plainly from the papers: explicit one-hots, whole vocabularies, every position at every step."""

import itertools

import torch
import torch.nn.functional as F

V_AXIS = -1


def one_hot(tokens, v):
    return F.one_hot(tokens, v).float()


def subs(logits, xt, mask_id):
    """SUBS (MDLM, arXiv 2406.07524, section 3.2.3)."""
    is_mask = torch.arange(logits.shape[-1]) == mask_id
    log_probs = logits.masked_fill(is_mask, -torch.inf).log_softmax(V_AXIS)
    carried = one_hot(xt, logits.shape[-1]).log()
    return torch.where((xt == mask_id)[..., None], log_probs, carried)


def mdlm_loss(log_x0, x0, xt, t, schedule, mask_id):
    """MDLM, equation 10."""
    weight = -schedule.alpha_prime(t) / (1 - schedule.alpha(t))
    cross_entropy = -(one_hot(x0, log_x0.shape[-1]) * log_x0.masked_fill(log_x0 == -torch.inf, 0)).sum(V_AXIS)
    return weight[:, None] * cross_entropy * (xt == mask_id)


def udlm_loss(logits, x0, xt, t, schedule):
    """UDLM, arXiv 2412.10193, the continuous bound."""
    v = logits.shape[-1]
    alpha, slope = schedule.alpha(t)[:, None, None], schedule.alpha_prime(t)[:, None, None]
    clean, noisy = one_hot(x0, v), one_hot(xt, v)
    q = v * alpha * clean + 1 - alpha
    m = v * alpha * logits.softmax(V_AXIS) + 1 - alpha
    q_xt, m_xt = (q * noisy).sum(V_AXIS, keepdim=True), (m * noisy).sum(V_AXIS, keepdim=True)
    jumps = (q / q_xt * (torch.log(q / q_xt) - torch.log(m / m_xt))).sum(V_AXIS, keepdim=True)
    return (slope / (v * alpha) * (v / q_xt - v / m_xt - jumps)).squeeze(-1)


def mdlm_posterior(log_x0, xt, t, s, schedule, mask_id):
    """MDLM, equation 7, as probabilities."""
    alpha_t, alpha_s = schedule.alpha(t)[:, None, None], torch.where(s > 0, schedule.alpha(s), 1.0)[:, None, None]
    p = (alpha_s - alpha_t) / (1 - alpha_t) * log_x0.exp()
    p[..., mask_id] = ((1 - alpha_s) / (1 - alpha_t))[..., 0]
    return torch.where((xt == mask_id)[..., None], p, one_hot(xt, p.shape[-1]))


def udlm_posterior(logits, xt, t, s, schedule):
    """UDLM, equation 10, as probabilities."""
    v, x0, noisy = logits.shape[-1], logits.softmax(V_AXIS), one_hot(xt, logits.shape[-1])
    alpha_t, alpha_s = schedule.alpha(t)[:, None, None], torch.where(s > 0, schedule.alpha(s), 1.0)[:, None, None]
    step = alpha_t / alpha_s
    top = (
        v * alpha_t * noisy * x0
        + (step - alpha_t) * noisy
        + (alpha_s - alpha_t) * x0
        + (alpha_s - alpha_t) * (1 - alpha_s) / (v * alpha_s)
    )
    return top / (v * alpha_t * (noisy * x0).sum(V_AXIS, keepdim=True) + 1 - alpha_t)


def draw(probs):
    """Gumbel's trick, as the published samplers draw."""
    return (probs / (1e-10 - (torch.rand_like(probs) + 1e-10).log())).argmax(V_AXIS)


@torch.no_grad()
def sample(posterior, xt, steps):
    """Ancestral sampling: the whole network at every step, `posterior(xt, t, s)` -> probabilities."""
    times = torch.linspace(1, 0, steps + 1)
    for t, s in itertools.pairwise(times):
        xt = draw(posterior(xt, t.expand(len(xt)), s.expand(len(xt))))
    return xt


@torch.no_grad()
def generate(next_token, x):
    """Left to right, the whole prefix at every position; `next_token(x, i)` -> probabilities of x[:, i]."""
    x = x.clone()
    for i in range(x.shape[1]):
        x[:, i] = draw(next_token(x, i))
    return x


def classifier_free(conditional, unconditional, gamma):
    """D-CFG (arXiv 2412.10193): log p ** gamma, normalized."""
    mixed = gamma * conditional + (1 - gamma) * unconditional
    return torch.where(unconditional > -torch.inf, mixed, -torch.inf).softmax(V_AXIS)


@torch.no_grad()
def classifier_based(log_probs, xt, t, log_likelihood, gamma, rows=4096):
    """D-CBG (arXiv 2412.10193): the classifier reads every sequence with one token changed."""
    b, length, v = log_probs.shape
    changed = xt[:, None, None].repeat(1, length, v, 1)
    for i in range(length):
        changed[:, i, :, i] = torch.arange(v)
    flat, times = changed.flatten(0, 2), t.repeat_interleave(length * v)
    scores = [log_likelihood(x, time) for x, time in zip(flat.split(rows), times.split(rows), strict=True)]
    return (log_probs + gamma * torch.cat(scores).view(b, length, v)).softmax(V_AXIS)


def first_order(log_probs, xt, t, log_likelihood, gamma):
    """D-CBG by one gradient: the classifier's change by each token, linearized at x_t."""
    return (log_probs + gamma * linearized(log_probs, xt, t, log_likelihood)).softmax(V_AXIS)


def linearized(log_probs, xt, t, log_likelihood):
    noisy = one_hot(xt, log_probs.shape[-1]).requires_grad_()
    with torch.enable_grad():
        value = log_likelihood(noisy, t)
        (gradient,) = torch.autograd.grad(value.sum(), noisy)
    ratio = gradient - (gradient * noisy).sum(V_AXIS, keepdim=True)
    return (ratio + value[:, None, None]).detach()


def hybrid(log_probs, xt, t, log_likelihood, gamma, exact):
    """D-CBG, exact for the likeliest changes of each sequence and by one gradient for the others."""
    (b, length, v), scores = log_probs.shape, linearized(log_probs, xt, t, log_likelihood)
    changes = log_probs.masked_fill(one_hot(xt, v).bool(), -torch.inf).flatten(1).topk(exact).indices
    changed = xt[:, None].repeat(1, exact, 1).scatter(2, changes[..., None] // v, changes[..., None] % v)
    values = log_likelihood(changed.flatten(0, 1), t.repeat_interleave(exact)).view(b, exact)
    scores = scores.flatten(1).scatter(1, changes, values).view(b, length, v)
    return (log_probs + gamma * scores).softmax(V_AXIS)


@torch.no_grad()
def fudge(log_probs, x, i, log_likelihood, gamma, top_k):
    """FUDGE (arXiv 2104.05218): the classifier reads the whole prefix with each of the likeliest tokens."""
    values, tokens = log_probs.topk(top_k)
    prefixes = torch.cat([x[:, None, :i].expand(-1, top_k, -1), tokens[..., None]], -1)
    t = torch.full((len(x) * top_k,), 1 - (i + 1) / x.shape[1])
    scores = log_likelihood(prefixes.flatten(0, 1), t).view(len(x), top_k)
    weights = (values + gamma * scores).softmax(V_AXIS)
    return torch.zeros_like(log_probs).scatter(-1, tokens, weights)


def nos(encode, decode, log_likelihood, steps, step_size, stability):
    """NOS (arXiv 2305.20009): Adagrad on the hidden states, with the divergence from the unguided prediction."""
    with torch.no_grad():
        hidden = encode()
        before = decode(hidden)
    moved = hidden.clone().requires_grad_()
    optimizer = torch.optim.Adagrad([moved], lr=step_size)
    for _ in range(steps):
        after = decode(moved)
        gap = torch.where(after > -torch.inf, after.exp() * (after - before), 0.0)
        optimizer.zero_grad()
        (stability * gap.sum() - log_likelihood(moved).sum()).backward(inputs=[moved])
        optimizer.step()
    with torch.no_grad():
        return decode(moved).exp()
