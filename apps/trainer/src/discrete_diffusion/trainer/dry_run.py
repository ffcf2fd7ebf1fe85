"""Dry runs: memory and time of a training run, measured over its first steps."""

import math
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import lightning as L
import torch
from rich.markup import escape
from torch import Tensor, nn

from discrete_diffusion.datasets import SequenceData, decode
from discrete_diffusion.trainer.batches import DataModule
from discrete_diffusion.trainer.fitting import TrainingRun, fit
from discrete_diffusion.trainer.generator import Generator
from discrete_diffusion.trainer.preview import Preview, shorten
from discrete_diffusion.trainer.stopping import Stop, averages

WARM_UP = 3
"""Steps before those that are timed."""
TIMED = 10
"""Steps that are timed, at most."""
VALIDATED = 4
"""Batches of the validation that are timed, after one more."""
SECONDS = 20.0
"""Seconds after which no further step is timed, of the training and of the sampling each."""
SHOWN = 2
"""Sequences of the first batch that are printed."""


class Probe(L.Callback):
    """Callback that measures the first steps, a few batches of the validation and a preview, and then stops the run.

    Attributes:
        batch: First batch, on the CPU.
        first: Steps before this run, if it is resumed.
        steps: Seconds of each step, data loading included.
        batches: Seconds of each batch of the validation.
        preview_seconds: Seconds of a preview; None without previews.
        sizes: Bytes by purpose.

    Args:
        preview: Callback that samples after each validation.
        frozen: Network beside that of the module, without gradients.
    """

    def __init__(self, preview: Preview | None, frozen: nn.Module | None) -> None:
        self.preview, self.frozen = preview, frozen
        self.batch: dict[str, Tensor] = {}
        self.first, self.step = 0, 0
        self.steps: list[float] = []
        self.batches: list[float] = []
        self.preview_seconds: float | None = None
        self.sizes: dict[str, int] = {}
        self._clock = 0.0
        self._recording = ExitStack()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the other validations out of the timed steps, and begin to measure the peak of the memory."""
        self.first = self.step = trainer.global_step
        trainer.val_check_batch = math.inf
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        self._clock = now(pl_module.device)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the first batch, and record the tensors that its forward pass keeps for the backward pass."""
        if self.batch:
            return
        self.batch = {name: column.cpu() for name, column in batch.items()}
        own = {one.untyped_storage().data_ptr() for one in (*held(pl_module), *held(self.frozen), *batch.values())}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        self._recording.callback(lambda: self.sizes.update(activations=sum(kept.values())))
        self._recording.enter_context(torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor))

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        """End the record."""
        self._recording.close()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Time a step, and stop after the last one that is timed."""
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        self.steps.append(self._lap(pl_module))
        late = len(self.steps) > WARM_UP and sum(self.steps) > SECONDS
        last = len(self.steps) == WARM_UP + TIMED or self.step == trainer.max_steps
        # Lightning validates before it stops.
        trainer.should_stop = trainer.strategy.reduce_boolean_decision(late or last, all=False)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._clock = now(pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Time a batch."""
        if not trainer.sanity_checking:
            self.batches.append(self._lap(pl_module))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Time the samples of a preview, or the part of them that is drawn in `SECONDS`."""
        if self.preview is None or not self.preview.samples or trainer.sanity_checking or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Generator)
        start = now(pl_module.device)
        for state in self.preview.states(trainer, pl_module):
            passed = now(pl_module.device) - start
            # Times fall from 1 to 0 in equal steps.
            if state.t < 1:
                self.preview_seconds = passed / (1 - state.t)
                if passed > SECONDS:
                    return

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure weights, gradients and the states of optimizer and average."""
        parameters = list(pl_module.parameters())
        state = [
            one for optimizer in trainer.optimizers for entry in optimizer.state.values() for one in entry.values()
        ]
        self.sizes = {
            "weights": size(held(pl_module)),
            "frozen generator": size(held(self.frozen)),
            "gradients": size(one for one in parameters if one.requires_grad),
            "optimizer": size(one for one in state if isinstance(one, Tensor)),
            "averaged weights": size(parameters) * len(averages(trainer)),
            **self.sizes,
        }
        if pl_module.device.type == "cuda":
            self.sizes["peak"] = torch.cuda.max_memory_allocated(pl_module.device)

    def _lap(self, module: L.LightningModule) -> float:
        before, self._clock = self._clock, now(module.device)
        return self._clock - before


def held(module: nn.Module | None) -> list[Tensor]:
    """Return the parameters and buffers of a module."""
    return [] if module is None else [*module.parameters(), *module.buffers()]


def size(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of tensors."""
    return sum(one.nbytes for one in tensors)


def now(device: torch.device) -> float:
    """Return the time in seconds after the device has finished its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def dry_run(
    run: TrainingRun,
    trainer: L.Trainer,
    module: L.LightningModule,
    batches: DataModule,
    stop: Stop,
    *,
    preview: Preview | None = None,
    frozen: nn.Module | None = None,
    answers: str = "label",
) -> None:
    """Measure the first steps of a run and print its first batch, its memory and its time; write nothing.

    Args:
        run: Run whose settings have been checked.
        trainer: Trainer of the run, which cannot train afterward.
        module: Module that the trainer would train; a few of its steps are taken.
        batches: Data loaders.
        stop: Callback that stops the run on a signal.
        preview: Callback that samples after each validation.
        frozen: Network beside that of the module, without gradients.
        answers: Column of the data that the network is conditional on, or predicts.
    """
    probe, limit = Probe(preview, frozen), trainer.limit_val_batches
    trainer.callbacks, trainer.loggers = [*averages(trainer), probe, stop], []  # type: ignore[attr-defined]
    trainer.limit_val_batches = min(limit, VALIDATED + 1) if isinstance(limit, int) or limit == 0 else VALIDATED + 1
    warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint.*")
    fit(trainer, module, batches, run, stop)
    if not probe.steps:
        run.print(f"\nNothing is left to train: the run has all {trainer.max_steps:,} steps.")
        return
    whole = len(batches.val_dataloader())
    validated = min(limit, whole) if isinstance(limit, int) else int(limit * whole)
    sections = [
        _describe_batch(probe.batch, batches.data, answers),
        _describe_memory(probe.sizes, len(probe.batch["input_ids"]), str(trainer.strategy.root_device)),
        _describe_time(probe, trainer, validated),
    ]
    for section in sections:
        run.print(escape("\n" + section))
    run.print("\nTrain with the same command without dry_run=true.")


def _describe_batch(batch: Mapping[str, Tensor], data: SequenceData, answers: str) -> str:
    ids = batch["input_ids"]
    lines = [f"First batch: {len(ids):,} sequences of {ids.shape[1]:,} tokens"]
    strings = [shorten(" ".join(one.splitlines())) for one in decode(data.tokenizer, ids[:SHOWN])]
    labels, width = _describe_answers(batch, data, answers), max(map(len, strings))
    lines += [f"  {string:{width}}   {label}".rstrip() for string, label in zip(strings, labels, strict=True)]
    if not data.report.changes:
        lines.append("No row was dropped or changed.")
    return "\n".join(lines)


def _describe_answers(batch: Mapping[str, Tensor], data: SequenceData, column: str) -> Sequence[str]:
    found = batch["input_ids"][:SHOWN]
    if column not in batch:
        return [""] * len(found)
    rows = batch[column][:SHOWN].tolist()
    if data.values is not None:
        names, means, stds = data.values.columns, data.values.means, data.values.stds
        return [
            ", ".join(
                f"{name} {'missing' if math.isnan(z) else format(mean + z * std, '.4g')}"
                for name, z, mean, std in zip(names, row, means, stds, strict=True)
            )
            for row in rows
        ]
    if data.label is None:
        return [f"{column} {number:.4g}" for number in rows]
    names = (*data.label.class_names, "no label")
    return [names[index] for index in rows]


def _describe_memory(sizes: Mapping[str, int], rows: int, device: str) -> str:
    parts = {name: count for name, count in sizes.items() if name != "peak" and count}
    notes = {"activations": f"kept for the backward pass of {rows:,} sequences"}
    lines = [f"Memory on {device}"]
    lines += [_line(name, in_bytes(count), notes.get(name, "")) for name, count in parts.items()]
    lines.append(_line("together", in_bytes(sum(parts.values())), "without temporary tensors and libraries"))
    if "peak" in sizes:
        lines.append(_line("measured", in_bytes(sizes["peak"]), "peak of these steps and batches"))
    return "\n".join(lines)


def _describe_time(probe: Probe, trainer: L.Trainer, validated: int) -> str:
    timed = probe.steps[WARM_UP:] or probe.steps[-1:]
    step, steps = sum(timed) / len(timed), trainer.max_steps - probe.first
    lines = [f"Time on {trainer.strategy.root_device}"]
    counted = f"{steps:,} × {in_time(step)}, the mean of {len(timed)} steps"
    parts = {"training": (steps * step, counted)}
    if validated and probe.batches:
        batches = probe.batches[1:] or probe.batches
        each, times = validated * sum(batches) / len(batches), count_validations(trainer, probe.first)
        counted = f"{times:,} × {in_time(each)}, {validated:,} batch{'' if validated == 1 else 'es'}"
        parts["validation"] = times * each, counted
        if (preview := probe.preview_seconds) is not None:
            parts["previews"] = times * preview, f"{times:,} × {in_time(preview)}"
    lines += [_line(name, in_time(seconds), note) for name, (seconds, note) in parts.items()]
    lines.append(_line("together", in_time(sum(seconds for seconds, _ in parts.values())), "without start and saving"))
    return "\n".join(lines)


def count_validations(trainer: L.Trainer, first: int) -> int:
    """Return the number of validations of a run after its step `first`; the last step is always validated."""
    accumulated, interval = trainer.accumulate_grad_batches, trainer.val_check_interval
    if not isinstance(interval, int):
        return 1
    return math.ceil(trainer.max_steps * accumulated / interval) - first * accumulated // interval


def _line(name: str, value: str, note: str) -> str:
    return f"  {name:18}{value:>14}   {note}".rstrip()


def in_bytes(count: int) -> str:
    """Return a number of bytes with three digits, such as "1.23 GB"."""
    unit, scale = next(((unit, scale) for unit, scale in (("GB", 1e9), ("MB", 1e6)) if count >= scale), ("kB", 1e3))
    return f"{count / scale:{',.0f' if count >= 100 * scale else '.3g'}} {unit}"


def in_time(seconds: float) -> str:
    """Return a duration, such as "12.3 ms", "4.56 s", "3 min 5 s" or "12 h 30 min"."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min"
