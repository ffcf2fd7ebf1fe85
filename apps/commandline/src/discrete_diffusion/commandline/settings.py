"""Names of settings, and the nearest one to a misspelled name."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.initialize import initialize_config_module
from omegaconf import DictConfig, OmegaConf


def explain(error: HydraException, config_path: str, config_name: str) -> str:
    """Return one line about an error in the overrides: what was expected, and the nearest name.

    Args:
        error: Error of Hydra.
        config_path: Package of the configuration, as `pkg://...`.
        config_name: Primary configuration.
    """
    first = str(error).strip().partition("\n")[0]
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        known = error.options or _options(group, config_path)
        options = ", ".join(known)
        return f"Expected `{group}` to be one of {options}, got {option}{nearest(option, known)}"
    if isinstance(error, OverrideParseException):
        return f"Cannot read the setting {error.override}: write NAME=VALUE, with quotes around a text."
    found = re.match(r"Could not override '(.+?)'", first)
    if isinstance(error, ConfigCompositionException) and found:
        name, known = found[1], known_settings(config_path, config_name)
        if name in known:
            return f"Unknown setting {name}: another option on the command line has removed it."
        return f"Unknown setting {name}{nearest(name, known)}"
    return first


def refuse_ignored(config: DictConfig, overrides: Sequence[str], open_keys: Collection[str] = ()) -> None:
    """Raise if an override adds a key (`+NAME=VALUE`) that nothing reads.

    A key that is added below a `_target_` is an argument of that target, which checks it itself.

    Args:
        config: The composed configuration.
        overrides: The overrides of the command line.
        open_keys: Keys at the top whose entries have names of the user's choice.

    Raises:
        ValueError: For the first such override, with the nearest known name.
    """
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if not override.is_add() or override.package is not None:
            continue
        *above, name = str(override.key_or_group).split(".")
        node: Any = config
        arguments = bool(above) and above[0] in open_keys
        for key in above:
            node = node.get(key) if isinstance(node, DictConfig) else None
            arguments = arguments or (isinstance(node, DictConfig) and "_target_" in node)
        # `+GROUP=OPTION` selects an option of a group, which leaves no key of its name behind.
        if arguments or not isinstance(node, DictConfig) or OmegaConf.is_missing(node, name) or name not in node:
            continue
        known = [str(key) for key in node if key != name]
        raise ValueError(f"Nothing reads the added setting {'.'.join([*above, name])}{nearest(name, known)}")


def known_settings(config_path: str, config_name: str) -> list[str]:
    """Return the dotted names of all settings of a configuration as it is without overrides."""
    GlobalHydra.instance().clear()
    with initialize_config_module(config_path.removeprefix("pkg://"), version_base="1.3"):
        return list(_names(OmegaConf.to_container(compose(config_name), resolve=False)))


def _options(group: str, config_path: str) -> list[str]:
    GlobalHydra.instance().clear()
    with initialize_config_module(config_path.removeprefix("pkg://"), version_base="1.3"):
        return GlobalHydra.instance().config_loader().get_group_options(group)


def _names(node: Any, above: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield f"{above}{name}"
            yield from _names(child, f"{above}{name}.")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest known name, if there is one."""
    matches = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f": did you mean {matches[0]}?" if matches else "."
