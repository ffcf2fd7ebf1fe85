"""Journal of an evaluation, from which the same command resumes it."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from discrete_diffusion.commandline.lock import FolderLock
from discrete_diffusion.evaluator.domains.domain import Domain, Number, Outcome, Run
from discrete_diffusion.evaluator.generation import ParticleWeights
from discrete_diffusion.evaluator.judge import Judge
from discrete_diffusion.evaluator.point import Point
from discrete_diffusion.evaluator.record import UNFINISHED, write
from discrete_diffusion.evaluator.same_settings import keep_settings
from discrete_diffusion.evaluator.sweep import Sweep
from discrete_diffusion.guidance import State

WITHOUT_EFFECT = ("checkpoint", "output", "device", "devices", "batch_size", "classifier", "data", "hydra")
"""Settings that may change on resumption: the results do not depend on them, or on their content, which is compared."""


@dataclass(frozen=True)
class Done:
    """A run that is done.

    Attributes:
        run: The run.
        numbers: Columns of results.csv beside those of its outcome.
        states: Trajectories of its first samples.
        weights: Weights of its particles.
    """

    run: Run
    numbers: Mapping[str, Number]
    states: Sequence[State] = ()
    weights: Sequence[ParticleWeights] = ()


class Journal:
    """Settings of an unfinished evaluation, and one file for each run that is done, locked for other processes.

    Args:
        directory: Folder of the evaluation.
        settings: Everything that the results depend on; see `settings_of`.

    Raises:
        FileExistsError: If the folder belongs to an evaluation with other settings.
        ValueError: If another process is writing to it.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any]) -> None:
        self.folder = directory / UNFINISHED
        self.folder.mkdir(exist_ok=True)
        self._lock = FolderLock(self.folder, work=f"writing to {directory}", setting="output")
        try:
            self._begin(directory, settings)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def _begin(self, directory: Path, settings: Mapping[str, Any]) -> None:
        keep_settings(directory, self.folder / "settings.json", settings, noun="an unfinished evaluation")
        # Leftovers of a process that was killed while it wrote.
        for ending in (".csv", ".json", ".html", ".safetensors"):
            for partial in list(directory.rglob(f".*{ending}-????????")):
                partial.unlink()

    def add(self, done: Done) -> None:
        """Keep a run that is done."""
        path = self._path(done.run.condition, done.run.seed)
        if done.states:
            tensors = {"x": torch.stack([state.x for state in done.states]).to(torch.int32)}
            write(path.with_suffix(".safetensors"), save(tensors))
        outcome = done.run.outcome
        kept = {
            "outcome": {
                "numbers": dict(outcome.numbers),
                "samples": [dict(row) for row in outcome.samples],
                "novel": list(outcome.novel),
                "values": list(outcome.values),
            },
            "numbers": dict(done.numbers),
            "times": [state.t for state in done.states],
            "weights": [[one.t, one.ess_share, one.resampled_share] for one in done.weights],
        }
        # The last file: a run without it is not done.
        write(path, json.dumps(kept, default=lambda value: value.item()))

    def done(self, runs: Iterable[tuple[Point, int]]) -> Iterator[Done]:
        """Yield the runs that are done, up to the first that is missing or damaged.

        Args:
            runs: Condition and seed of every run, in their order.
        """
        for condition, seed in runs:
            try:
                done = self._read(condition, seed)
            except (OSError, ValueError, KeyError, SafetensorError):
                return
            yield done

    def close(self) -> None:
        """Delete the journal of an evaluation that is complete."""
        # The folder disappears in one step: half a journal would be resumed.
        complete = self.folder.rename(self.folder.with_name(".complete"))
        shutil.rmtree(complete)

    def _read(self, condition: Point, seed: int) -> Done:
        path = self._path(condition, seed)
        kept = json.loads(path.read_text(encoding="utf-8"))
        times = kept["times"]
        xs = load_file(path.with_suffix(".safetensors"))["x"].long() if times else torch.empty(0)
        return Done(
            Run(condition, seed, Outcome(**kept["outcome"])),
            kept["numbers"],
            [State(t, x) for t, x in zip(times, xs, strict=True)],
            [ParticleWeights(*one) for one in kept["weights"]],
        )

    def _path(self, condition: Point, seed: int) -> Path:
        return self.folder / f"{condition.file_name()}_seed-{seed}.json"


def settings_of(
    config: DictConfig, sweep: Sweep, domain: Domain, judge: Judge | None, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that the results of an evaluation depend on, as JSON.

    Networks are compared by a digest of their weights, and the training data by the statistics of their property.
    Functions of the user are compared by their names alone.
    """
    settings: Any = OmegaConf.to_container(config, resolve=False)
    networks: dict[str, Any] = {f"classifiers.{key}": target.network.network for key, target in sweep.targets.items()}
    if judge is not None:
        networks["judge_weights"] = getattr(judge, "network", None)
    return {
        **{name: value for name, value in settings.items() if name not in WITHOUT_EFFECT},
        "checkpoint": {name: provenance[name] for name in ("weights_sha256", "config_sha256")},
        "versions": provenance["versions"],
        "training data": {"property": domain.property_name, **domain.training},
        "runs": {point.file_name(): [point.condition, point.samples] for point in sweep.points()},
        **{name: _digest(one) for name, one in networks.items() if isinstance(one, torch.nn.Module)},
    }


def _digest(network: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
