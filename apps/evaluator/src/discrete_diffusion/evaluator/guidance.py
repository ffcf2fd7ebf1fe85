"""Guidance applied to a model at one point of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.evaluator.methods import LEVELS, Method
from discrete_diffusion.evaluator.rewards import Reward
from discrete_diffusion.evaluator.supplied import SUPPLIED, supply
from discrete_diffusion.guidance import CountEvaluations, LogLikelihood, Model, Search


class Wrapper(Protocol):
    """A guidance method without its base, such as `partial(ClassifierFree, gamma=2.0, null_label=2)`."""

    def __call__(self, base: Model, /) -> Model:
        """Return the guided model."""
        ...


class ClassifierMethod(Protocol):
    """A guidance method that asks a classifier.

    In the configuration it has a `classifier`, and `likelihood: ???` among the arguments of its `method` or of a
    partial inside of it. The evaluator fills in the log-likelihood of the target.
    """

    def __call__(self, base: Model, /, *, likelihood: LogLikelihood) -> Model:
        """Return the guided model."""
        ...


class RewardSearch(Protocol):
    """A search that asks a reward.

    In the configuration its level is "search", and `reward: ???` is among the arguments of its `method` or of a partial
    inside of it. The evaluator fills in the reward.
    """

    def __call__(self, *, reward: Reward) -> Search:
        """Return the search."""
        ...


@dataclass(frozen=True)
class Cost:
    """Cost of guidance beside that of the generator.

    Attributes:
        classifier_rows: Forward passes of the classifiers, one for each row of a batch.
        rewarded: Hashes of the strings whose reward was computed.
    """

    classifier_rows: int = 0
    rewarded: frozenset[bytes] = frozenset()

    def __add__(self, other: "Cost") -> "Cost":
        """Return the cost of two shares of the samples; a string of both counts once."""
        return Cost(self.classifier_rows + other.classifier_rows, self.rewarded | other.rewarded)

    def columns(self) -> dict[str, int]:
        """Return the columns of results.csv."""
        return {"classifier_rows": self.classifier_rows, "reward_calls": len(self.rewarded)}


@dataclass(frozen=True)
class Guidance:
    """Wrappers of one point of the sweep by level, as samplers take them, and the counters of their cost."""

    on_hidden: Sequence[Wrapper] = ()
    on_denoiser: Sequence[Wrapper] = ()
    on_kernel: Sequence[Wrapper] = ()
    search: Search | None = None
    classifiers: Sequence[CountEvaluations] = ()
    reward: Reward | None = None

    def sampler_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of a sampler."""
        return {
            "on_hidden": self.on_hidden,
            "on_denoiser": self.on_denoiser,
            "on_kernel": self.on_kernel,
            "search": self.search,
        }

    def reset(self) -> None:
        """Reset the counters."""
        for classifier in self.classifiers:
            classifier.reset()
        if self.reward is not None:
            self.reward.reset()

    def cost(self) -> Cost:
        """Return the cost since `reset`."""
        return Cost(
            sum(classifier.rows for classifier in self.classifiers),
            frozenset() if self.reward is None else frozenset(self.reward.rewarded),
        )


def build_guidance(
    config: DictConfig,
    methods: Sequence[Method],
    gamma: float | None,
    *,
    likelihoods: Mapping[str, LogLikelihood],
    classifiers: Sequence[CountEvaluations] = (),
    reward: Reward | None = None,
    null_label: int | None = None,
    left_to_right: bool = False,
) -> Guidance:
    """Build methods at one guidance scale, and the truncations of the configuration.

    Truncations wrap the denoiser last, outside its guidance. The kernel of a left-to-right model is its denoiser.

    Args:
        config: The whole configuration.
        methods: Keys under `guidance`, innermost first.
        gamma: Guidance scale.
        likelihoods: Log-likelihood of each method with a classifier, by its key.
        classifiers: Networks whose evaluations count as cost.
        reward: Reward of the searches.
        null_label: Label that stands for "no condition".
        left_to_right: Whether the model goes from left to right.

    Raises:
        ValueError: If a method has no place for its likelihood or reward.
    """
    levels: dict[str, list[Any]] = {level: [] for level in LEVELS}
    filled = OmegaConf.merge(config, {"gamma": gamma, "null_label": null_label})
    for method in methods:
        settings: Any = OmegaConf.to_container(filled.guidance[method.key].method, resolve=True)
        wrapper = instantiate(settings)
        if method.classifier is not None:
            wrapper = _supply(wrapper, settings, "likelihood", likelihoods[method.key], method)
        if method.level == "search":
            wrapper = _supply(wrapper, settings, "reward", reward, method)
        levels["denoiser" if left_to_right and method.level == "kernel" else method.level].append(wrapper)
    for truncation in (OmegaConf.select(filled, "truncation") or {}).values():
        settings = OmegaConf.to_container(truncation, resolve=True)
        if None not in settings.values():
            levels["denoiser"].append(instantiate(settings))
    search = levels["search"][0]() if levels["search"] else None
    return Guidance(
        tuple(levels["hidden"]),
        tuple(levels["denoiser"]),
        tuple(levels["kernel"]),
        search,
        tuple(classifiers),
        None if search is None else reward,
    )


def _supply(wrapper: Any, settings: Any, argument: str, value: Any, method: Method) -> Any:
    supplied, found = supply(wrapper, settings, argument, value)
    if not found:
        raise ValueError(
            f"Expected `{argument}: {SUPPLIED}` in `guidance.{method.key}.method`, beside a `_partial_: true`: "
            f"{method.name} is given its {argument} there."
        )
    return supplied
