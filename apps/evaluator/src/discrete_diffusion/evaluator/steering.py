"""What is put around a model for one point of the sweep."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from discrete_diffusion.evaluator.presets import Preset
from discrete_diffusion.evaluator.rewards import Reward
from discrete_diffusion.guidance import CountEvaluations
from discrete_diffusion.guidance.protocols import LogLikelihood

Wrapper = Callable[[Callable[..., Tensor]], Callable[..., Tensor]]
SAMPLING = (
    ("Temperature", "temperature", "temperature", 1.0),
    ("TopK", "k", "top_k", None),
    ("Nucleus", "p", "nucleus", 1.0),
)


@dataclass(frozen=True)
class Steering:
    """The methods of one point by level, as a sampler takes them, and what counts their cost."""

    on_hidden: Sequence[Wrapper] = ()
    on_denoiser: Sequence[Wrapper] = ()
    on_kernel: Sequence[Wrapper] = ()
    search: Any = None
    classifiers: Sequence[CountEvaluations] = ()
    reward: Reward | None = None

    def arguments(self) -> dict[str, Any]:
        """What a sampler is told."""
        levels = {"on_hidden": self.on_hidden, "on_denoiser": self.on_denoiser, "on_kernel": self.on_kernel}
        return {**levels, "search": self.search}

    def start(self) -> None:
        """Count from zero."""
        for classifier in self.classifiers:
            classifier.reset()
        if self.reward is not None:
            self.reward.reset()

    def cost(self) -> dict[str, int]:
        """What was spent since `start` beside the generator's own evaluations; backward passes are not counted."""
        return {
            "classifier_rows": sum(classifier.rows for classifier in self.classifiers),
            "reward_calls": 0 if self.reward is None else self.reward.calls,
        }


def steering(
    config: DictConfig,
    presets: Sequence[Preset],
    gamma: float | None,
    *,
    likelihoods: Mapping[str, LogLikelihood],
    classifiers: Sequence[CountEvaluations] = (),
    reward: Any = None,
    null_label: int | None = None,
    left_to_right: bool = False,
) -> Steering:
    """The methods of `presets` at strength `gamma`, and the temperature and truncation of `config.sampling`.

    Those are put around the denoiser last, outside its guidance. For a left-to-right model kernel and denoiser are one.

    Args:
        likelihoods: what each preset with a classifier asks, by its key.
        reward: what searches ask.

    Raises:
        ValueError: if nothing in a method takes what it is given.
    """
    levels: dict[str, list[Any]] = {"hidden": [], "denoiser": [], "kernel": [], "search": []}
    filled = OmegaConf.merge(config, {"gamma": gamma, "null_label": null_label})
    for preset in presets:
        settings = OmegaConf.to_container(filled.guidance[preset.key].method, resolve=True)
        method = instantiate(settings)
        if preset.classifier is not None:
            method = bound(method, preset, likelihood=likelihoods[preset.key])
        if preset.level == "search":
            method = bound(method, preset, reward=reward)
        levels["denoiser" if left_to_right and preset.level == "kernel" else preset.level].append(method)
    for name, argument, key, identity in SAMPLING:
        value = config.sampling[key]
        if value != identity:
            target = {"_target_": f"discrete_diffusion.guidance.{name}", "_partial_": True, argument: value}
            levels["denoiser"].append(instantiate(target))
    search = levels["search"][0]() if levels["search"] else None
    return Steering(
        tuple(levels["hidden"]),
        tuple(levels["denoiser"]),
        tuple(levels["kernel"]),
        search,
        tuple(classifiers),
        reward if search is not None and isinstance(reward, Reward) else None,
    )


def bound(method: Any, preset: Preset, **given: Any) -> partial[Any]:
    """Hand what is given to every function in `method`, nested ones included, that takes it.

    Raises:
        ValueError: if none does.
    """
    taken: set[str] = set()

    def hand(node: Any) -> Any:
        if not isinstance(node, partial):
            return node
        takes = given.keys() & inspect.signature(node.func).parameters.keys()
        taken.update(takes)
        inner = {name: hand(value) for name, value in node.keywords.items()}
        return partial(node.func, *node.args, **inner, **{name: given[name] for name in takes})

    made = hand(method)
    for name in given.keys() - taken:
        raise ValueError(
            f"Expected something in `guidance.{preset.key}.method` that takes `{name}`, and is `_partial_: true`."
        )
    return made
