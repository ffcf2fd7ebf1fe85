"""What runs together: the guidance that was asked for, or each row of a suite."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.datasets import Label
from discrete_diffusion.evaluator.presets import Preset, read_presets

GAMMAS = (0.0, 1.0, 2.0, 3.0, 5.0)
MODELS = ("any", "diffusion", "left_to_right")


@dataclass(frozen=True)
class Row:
    """Methods that run together, at several strengths.

    Attributes:
        presets: the methods; those of a level are put around the model in this order. None is no guidance.
        gammas: their strengths.
        samples: for each strength and seed.
        name: of the row in its suite, "" without one.
    """

    presets: tuple[Preset, ...]
    gammas: tuple[float, ...]
    samples: int
    name: str = ""

    @property
    def guidance(self) -> str:
        """The methods' names."""
        return " + ".join(preset.name for preset in self.presets) or "none"

    @property
    def needs_labels(self) -> bool:
        """Whether the model must have been trained with labels."""
        return any(preset.needs_labels for preset in self.presets)


def rows(
    config: DictConfig, label: Label | None, left_to_right: bool, tell: Callable[[str], None] = lambda line: None
) -> list[Row]:
    """What `config` asks for of a model with this label: one row, or those of the suite that are defined for it.

    Args:
        tell: hears of each row of the suite that is left out for want of labels.

    Raises:
        ValueError: if nothing is left, or the parts of a row do not go together.
    """
    presets = read_presets(config.guidance)
    if config.suite is None:
        return [_single(config, tuple(presets.values()), label)]
    found = []
    for name, settings in config.suite.items():
        row = _of_suite(config, str(name), settings, presets)
        if row is None or settings.get("for", "any") not in ("any", MODELS[1 + left_to_right]):
            continue
        if row.needs_labels and label is None:
            tell(f"Left out: {name}, {row.guidance} needs labels, and the model was trained without.")
            continue
        found.append(row)
    if not found:
        kind = "left-to-right" if left_to_right else "diffusion"
        raise ValueError(f"Expected a row of the suite that can be run, but none is for this {kind} model.")
    return found


def _single(config: DictConfig, presets: tuple[Preset, ...], label: Label | None) -> Row:
    row = _checked(Row(presets, _gammas(config.gammas, "gammas") or GAMMAS, config.samples))
    if config.gammas is not None and not presets:
        raise ValueError("Expected no `gammas`: there is no guidance whose strength they could be.")
    if presets and all(preset.level == "search" for preset in presets) and config.strength._target_ != "builtins.float":
        raise ValueError(f"Expected `strength=constant`: the gamma of {row.guidance} does not change over time.")
    if row.needs_labels and label is None:
        # What is chosen by default is not asked for.
        if config.gammas is None and len(presets) == 1:
            return Row((), (), config.samples)
        raise ValueError(
            f"Expected no {row.guidance} guidance: it needs labels, and the model was trained without "
            "(guidance=none leaves it out)."
        )
    return Row((), (), config.samples) if not presets or config.gammas == [] else row


def _of_suite(config: DictConfig, name: str, settings: Any, presets: dict[str, Preset]) -> Row | None:
    """The row; None where the chosen guidance does not hold all of it."""
    given = OmegaConf.to_container(settings) if isinstance(settings, DictConfig) else {}
    assert isinstance(given, dict)
    unknown = sorted(map(str, given.keys() - {"guidance", "for", "gammas", "samples"}))
    if not given.get("guidance") or unknown:
        raise ValueError(
            f"Expected `guidance`, and perhaps `for`, `gammas` and `samples`, under `suite.{name}`, "
            f"got {', '.join(map(str, given)) or settings}."
        )
    if given.get("for", "any") not in MODELS:
        raise ValueError(f"Expected `suite.{name}.for` to be one of {', '.join(MODELS)}, got {given['for']}.")
    if not presets.keys() >= set(given["guidance"]):
        return None
    asked = _gammas(config.gammas, "gammas") or _gammas(given.get("gammas"), f"suite.{name}.gammas") or GAMMAS
    samples = config.samples if given.get("samples") is None else given["samples"]
    if not isinstance(samples, int) or samples < 1:
        raise ValueError(f"Expected `suite.{name}.samples` >= 1, got {samples}.")
    # Without guidance everything is the same, and run once for all.
    steered = tuple(gamma for gamma in asked if gamma)
    return _checked(Row(tuple(presets[key] for key in given["guidance"]), steered, samples, name))


def _checked(row: Row) -> Row:
    searches = [preset.name for preset in row.presets if preset.level == "search"]
    if len(searches) > 1:
        raise ValueError(f"Expected at most one search, got {' and '.join(searches)}: a sample is drawn by one.")
    return row


def _gammas(given: Sequence[Any] | None, name: str) -> tuple[float, ...]:
    gammas = [] if given is None else list(given)
    bad = [g for g in gammas if isinstance(g, (bool, str)) or g is None or math.isnan(g) or g < 0]
    if bad or len(set(gammas)) < len(gammas):
        raise ValueError(f"Expected distinct numbers >= 0 in `{name}`, got {gammas}.")
    return tuple(map(float, gammas))
