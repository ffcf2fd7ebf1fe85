"""Cache of NextToken between calls: cost and unchanged results."""

import copy
import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from discrete_diffusion.processes import NextToken
from discrete_diffusion.processes.process import pick

V, BOS, LENGTH, EXACT = 3, 0, 5, {"rtol": 0, "atol": 1e-12}


@pytest.fixture
def network(tiny_network):
    return tiny_network(V, causal=True).eval()


@pytest.fixture
def model(network):
    return NextToken(network, BOS)


def uncached(network):
    """The same model over a function that has no `extend`."""
    return NextToken(lambda *args, **kwargs: network(*args, **kwargs), BOS)


def column(x, i, rows=None):
    at = torch.zeros_like(x, dtype=torch.bool)
    at[slice(None) if rows is None else rows, i] = True
    return at


@torch.no_grad()
def draw(model, x, y=None, *, free=range(LENGTH), generator):
    for i in free:
        probs = model(x, y=y, at=column(x, i)).exp()
        x = x.clone()
        x[:, i] = torch.multinomial(probs, 1, generator=generator)[:, 0]
    return x


@torch.no_grad()
@pytest.mark.parametrize("label", [None, 1])
def test_columns_in_turn_give_the_distribution_of_the_model(network, model, label):
    sequences = torch.cartesian_prod(*[torch.arange(V)] * LENGTH)
    y = None if label is None else torch.full((len(sequences),), label)
    log_p = torch.zeros(len(sequences), dtype=torch.float64)
    for i in range(LENGTH):
        # What stands at the column and to its right is not known yet, and must not matter.
        known = sequences.where(torch.arange(LENGTH) < i, 2)
        log_p += pick(model(known, y=y, at=column(known, i)), sequences[:, i])
    expected = pick(uncached(network)(sequences, y=y), sequences).sum(-1)
    torch.testing.assert_close(log_p, expected, **EXACT)
    torch.testing.assert_close(log_p.exp().sum(), torch.tensor(1.0, dtype=torch.float64), **EXACT)
    assert network.fed == LENGTH


def test_samples_are_those_of_the_model_without_memory_and_every_token_is_read_once(network, model):
    start, y = torch.full((64, LENGTH), BOS), torch.arange(64) % 2
    for labels in (None, y):
        network.fed = network.calls = 0
        samples = draw(model, start, labels, generator=torch.Generator().manual_seed(1))
        assert (network.fed, network.calls) == (LENGTH, LENGTH)
        expected = draw(uncached(network), start, labels, generator=torch.Generator().manual_seed(1))
        assert torch.equal(samples, expected)
        assert len(samples.unique(dim=0)) > 20


def test_a_second_sample_begins_afresh(network, model, generator):
    for _ in range(2):
        draw(model, torch.full((4, LENGTH), BOS), generator=generator)
    assert network.fed == 2 * LENGTH


@torch.no_grad()
def test_the_last_column_lets_go_of_the_memory(network, model, generator):
    x = draw(model, torch.full((4, LENGTH), BOS), generator=generator)
    network.fed = 0
    model(x, at=column(x, LENGTH - 1))
    assert network.fed == LENGTH


def test_columns_that_are_skipped_are_read_at_once(network, model, generator):
    start = torch.randint(V, (8, LENGTH), generator=generator)
    samples = draw(model, start, free=[2, 4], generator=torch.Generator().manual_seed(1))
    assert (network.fed, network.calls) == (LENGTH, 2)
    expected = draw(uncached(network), start, free=[2, 4], generator=torch.Generator().manual_seed(1))
    assert torch.equal(samples, expected)


def test_rows_that_want_nothing_are_read_too(network, model, generator):
    x, rows = torch.randint(V, (4, LENGTH), generator=generator), torch.tensor([0, 2])
    with torch.no_grad():
        some = model(x, at=column(x, 1, rows))
        every = model(x, at=column(x, 2))
    assert network.fed == 3
    torch.testing.assert_close(some, uncached(network)(x)[rows, 1], **EXACT)
    torch.testing.assert_close(every, uncached(network)(x)[:, 2], **EXACT)


CALLS = st.tuples(
    st.integers(0, LENGTH - 1),  # the column
    st.lists(st.integers(0, 5), min_size=1, max_size=4),  # which rows of the pool, in which order
    st.sampled_from([None, 1, "mixed"]),  # the labels
    st.integers(0, LENGTH),  # a place whose token is changed, none at LENGTH
)


@given(calls=st.lists(CALLS, min_size=2, max_size=8))
@torch.no_grad()
def test_any_calls_in_any_order_are_right(tiny_network, calls):
    network = tiny_network(V, causal=True).eval()
    model, plain = NextToken(network, BOS), uncached(network)
    pool = torch.randint(V, (6, LENGTH), generator=torch.Generator().manual_seed(0))
    for i, rows, label, place in calls:
        x = pool[rows]
        if place < LENGTH:
            x[0, place] = (x[0, place] + 1) % V
        y = {None: None, 1: torch.ones(len(x), dtype=torch.int64), "mixed": torch.arange(len(x)) % 2}[label]
        torch.testing.assert_close(model(x, y=y, at=column(x, i)), plain(x, y=y, at=column(x, i)), **EXACT)


@torch.no_grad()
@pytest.mark.parametrize(
    ("change", "fed"),
    [("nothing", 1), ("the last token", 2), ("the order of rows", 4), ("the labels", 4), ("fewer rows", 4)],
)
def test_what_has_changed_is_read_again_and_no_more(network, model, change, fed):
    # Rows that agree in their first token, then part.
    x, y = torch.tensor([[1, 0, 2, 1, 0], [1, 2, 0, 1, 1], [1, 1, 1, 2, 0]]), torch.tensor([0, 1, 1])
    model(x, y=y, at=column(x, 2))
    network.fed = 0
    if change == "the last token":
        x = x.clone()
        x[1, 1] = 0
    elif change == "the order of rows":
        x, y = x[[1, 0, 2]], y[[1, 0, 2]]
    elif change == "the labels":
        y = 1 - y
    elif change == "fewer rows":
        x, y = x[:2], y[:2]
    result = model(x, y=y, at=column(x, 3))
    assert network.fed == fed
    torch.testing.assert_close(result, uncached(network)(x, y=y)[:, 3], **EXACT)


def test_guidance_of_twice_the_rows_reads_every_token_once(network, model, generator):
    def guided(model):
        def call(x, y, at):
            both = model(torch.cat([x, x]), y=torch.cat([y, 1 - y]), at=torch.cat([at, at]))
            conditional, other = both.chunk(2)
            return (3 * conditional - 2 * other).log_softmax(-1)

        return call

    start, y = torch.full((16, LENGTH), BOS), torch.zeros(16, dtype=torch.int64)
    samples = draw(guided(model), start, y, generator=torch.Generator().manual_seed(1))
    assert network.fed == LENGTH
    assert torch.equal(samples, draw(guided(uncached(network)), start, y, generator=torch.Generator().manual_seed(1)))


def test_nothing_is_cached_under_gradients(network, model, generator):
    x = torch.randint(V, (3, LENGTH), generator=generator)
    with torch.no_grad():
        model(x, at=column(x, 1))
    network.fed = 0
    result = model(x, at=column(x, 2))
    assert network.fed == 0
    torch.testing.assert_close(result, uncached(network)(x)[:, 2], **EXACT)
    assert all(g is not None for g in torch.autograd.grad(result.sum(), [network.tokens, network.out]))


@torch.no_grad()
def test_several_columns_and_training_remember_nothing(network, model, generator):
    x = torch.randint(V, (3, LENGTH), generator=generator)
    at = column(x, 1) | column(x, 2)
    torch.testing.assert_close(model(x, at=at), uncached(network)(x)[at], **EXACT)
    assert model(x, at=torch.zeros_like(at)).shape == (0, V)
    network.train()
    model(x, at=column(x, 1))
    assert network.fed == 0


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_another_number_of_rows_is_read_again(network, model, generator, rows):
    x = torch.randint(V, (1, LENGTH), generator=generator).repeat(4, 1)
    model(x[:3], at=column(x[:3], 2))
    other = x[:rows]
    torch.testing.assert_close(model(other, at=column(other, 3)), uncached(network)(other)[:, 3], **EXACT)
    assert network.fed == 3 + 4


@torch.no_grad()
def test_weights_that_changed_are_noticed(network, model, generator):
    x = torch.randint(V, (3, LENGTH), generator=generator)
    model(x, at=column(x, 2))
    network.load_state_dict({name: 0.5 * value for name, value in network.state_dict().items()})
    torch.testing.assert_close(model(x, at=column(x, 3)), uncached(network)(x)[:, 3], **EXACT)


@torch.no_grad()
def test_labels_that_the_caller_edits_are_noticed(network, model, generator):
    x, y = torch.randint(V, (3, LENGTH), generator=generator), torch.tensor([0, 1, 0])
    model(x, y=y, at=column(x, 2))
    y[0] = 1
    torch.testing.assert_close(model(x, y=y, at=column(x, 3)), uncached(network)(x, y=y)[:, 3], **EXACT)


@torch.no_grad()
def test_the_memory_is_no_part_of_the_value(network, model, generator):
    x = torch.randint(V, (3, LENGTH), generator=generator)
    model(x, at=column(x, 2))
    other = dataclasses.replace(model, bos_id=1)
    assert model == NextToken(network, BOS) != other
    assert hash(model) == hash(NextToken(network, BOS))
    assert "cache" not in repr(model)
    torch.testing.assert_close(
        other(x, at=column(x, 3)), dataclasses.replace(uncached(network), bos_id=1)(x)[:, 3], **EXACT
    )
    twin = copy.deepcopy(model)
    torch.testing.assert_close(twin(x, at=column(x, 3)), model(x, at=column(x, 3)), **EXACT)
