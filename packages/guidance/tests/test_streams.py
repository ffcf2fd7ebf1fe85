"""Random streams of samples: known answers, and independence of the batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from discrete_diffusion.guidance import SampleStreams
from discrete_diffusion.guidance.streams import philox

FULL = 2**32 - 1


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((FULL,) * 4, (FULL, FULL), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_the_generator_gives_the_known_answers_of_its_authors(counter, key, expected):
    words = philox(tuple(torch.tensor([word]) for word in counter), key)
    assert tuple(word.item() for word in words) == expected


@given(st.lists(st.integers(0, FULL), min_size=1, max_size=6), st.integers(0, 2**64 - 1), st.integers(0, 7))
def test_a_row_of_numbers_depends_on_its_own_index_alone(index, seed, length):
    together = SampleStreams(seed, torch.tensor(index))
    first, second = together.uniform((len(index), length)), together.uniform((len(index), 2, 3))
    for row, own in enumerate(index):
        alone = SampleStreams(seed, torch.tensor([own]))
        assert torch.equal(alone.uniform((1, length))[0], first[row])
        assert torch.equal(alone.uniform((1, 2, 3))[0], second[row])


def test_numbers_are_uniform_and_those_of_different_draws_rows_and_seeds_differ():
    streams = SampleStreams(1, torch.arange(200))
    draws = torch.stack([streams.uniform((200, 51)) for _ in range(3)])
    parts = SampleStreams(1, torch.arange(200)).repeated(2).uniform((400, 51))[1::2]
    apart = SampleStreams(1, torch.arange(200)).apart().uniform((200, 51))
    seed = SampleStreams(2, torch.arange(200)).uniform((200, 51))
    numbers = torch.cat([draws.flatten(), parts.flatten(), apart.flatten(), seed.flatten()])
    assert numbers.unique().numel() == numbers.numel()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = numbers.mul(64).long().bincount(minlength=64).double()
    expected = numbers.numel() / 64
    assert ((counts - expected) ** 2 / expected).sum() < 103.4  # 99.9th percentile, 63 degrees of freedom


def test_the_first_part_of_a_sample_has_the_numbers_of_the_sample():
    index = torch.tensor([3, 5])
    assert torch.equal(
        SampleStreams(0, index).repeated(3).uniform((6, 4))[::3], SampleStreams(0, index).uniform((2, 4))
    )


def test_repeated_rows_are_numbered_within_their_sample():
    twice = SampleStreams(0, torch.tensor([7])).repeated(2).repeated(3).uniform((6, 4))
    once = SampleStreams(0, torch.tensor([7])).repeated(6).uniform((6, 4))
    assert torch.equal(twice, once)


def test_selected_rows_advance_all_streams():
    streams, other = (SampleStreams(4, torch.arange(3)) for _ in range(2))
    rows = torch.tensor([True, False, True])
    assert torch.equal(streams.selected(rows).uniform((2, 5)), other.uniform((3, 5))[rows])
    assert torch.equal(streams.uniform((3, 5)), other.uniform((3, 5)))


def test_streams_apart_do_not_depend_on_the_draws_before():
    before, after = (SampleStreams(4, torch.arange(3)) for _ in range(2))
    after.uniform((3, 2))
    assert torch.equal(before.apart().uniform((3, 2)), after.apart().uniform((3, 2)))


@pytest.mark.parametrize("arguments", [(-1, [0]), (2**64, [0]), (0, [-1]), (0, [2**32])])
def test_numbers_out_of_range_are_refused(arguments):
    seed, index = arguments
    with pytest.raises(ValueError, match="Expected"):
        SampleStreams(seed, torch.tensor(index))


def test_another_number_of_rows_is_refused():
    with pytest.raises(ValueError, match="Expected 2 rows"):
        SampleStreams(0, torch.arange(2)).uniform((3, 4))
