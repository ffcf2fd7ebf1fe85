"""Speed of every row, ours and the textbook's alternately in one process, on one thread: `uv run just bench`."""

import statistics

import pytest
import torch

from benchmarks import machine, rows


@pytest.fixture(scope="session")
def rates():
    torch.set_num_threads(1)
    return machine.rates()


@pytest.mark.parametrize("name", rows.ROWS)
def test_row(benchmark, rates, name):
    row = rows.ROWS[name](False)
    operations, memory, textbook_memory = machine.work(row.ours), None, None
    if row.memory:
        memory, textbook_memory = machine.peak_memory(row.ours), machine.peak_memory(row.textbook)
    ours, textbook = [], []
    floor = operations / rates["matmul"] + row.bytes_moved / rates["copy"]

    def setup():
        textbook.append(machine.seconds(row.textbook))

    # The two alternate, so that a busy moment of the machine meets both.
    benchmark.pedantic(lambda: ours.append(machine.seconds(row.ours)), setup=setup, rounds=row.rounds)
    benchmark.extra_info.update(
        name=name,
        size=row.size,
        textbook_seconds=min(textbook),
        seconds=min(ours),
        ratio=statistics.median(a / b for a, b in zip(ours, textbook, strict=True)),
        memory=memory,
        textbook_memory=textbook_memory,
        floor_seconds=floor,
        processor=machine.processor(),
        rates=rates,
        torch=torch.__version__,
    )
