"""Hard constraints on samples: prompts, and the tokens that each position may hold."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import torch
from jaxtyping import Bool, Int
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.checkpoints import Checkpoint, infill
from discrete_diffusion.checkpoints.infill import FREE, Alternatives, Template, read_template, read_templates, tokens_of
from discrete_diffusion.datasets import Fragments
from discrete_diffusion.guidance.constraints import anything, ban, exact_length, only


def read_prompt(prompt: str | None, checkpoint: Checkpoint) -> Int[Tensor, "1 l"] | None:
    """Return the token that each position must hold, -1 if it is free; `_` and `[MASK]` are one free token.

    Exact for an absorbing process, and for a left-to-right model if no free token comes before a fixed one. Otherwise a
    heuristic (see `discrete_diffusion.guidance.trajectory`).

    Raises:
        ValueError: If a token is unknown, the prompt has a gap, or it is too long.
    """
    if prompt is None:
        return None
    held, *more = tokens_of(prompt, checkpoint.tokenizer, "a `prompt`")
    if more:
        raise ValueError("Expected no gap `[*]` in `prompt`: `uv run evaluator generate infill=` fills gaps.")
    first = first_position(checkpoint)
    tokens = [checkpoint.tokenizer.bos_token_id] * first + held
    if len(tokens) > checkpoint.length:
        limit = checkpoint.length - first
        raise ValueError(f"Expected a `prompt` of at most {limit} tokens, got {len(tokens) - first}.")
    return torch.tensor([tokens + [FREE] * (checkpoint.length - len(tokens))])


def read_infill(config: DictConfig, checkpoint: Checkpoint) -> dict[str, Template]:
    """Return the strings with free places to fill, each with its template.

    Raises:
        ValueError: If a string does not fit the model, or there is a prompt too.
    """
    if config.infill is None:
        return {}
    if config.prompt is not None:
        raise ValueError("Expected either `infill` or `prompt`, got both: a text that ends with `[*]` is continued.")
    gap = tuple(config.gap)
    if len(gap) != 2:
        raise ValueError(f"Expected the smallest and the largest number of tokens in `gap`, got {list(gap)}.")
    texts = list(config.infill) if isinstance(config.infill, ListConfig) else [str(config.infill)]
    return {
        text: read_template(text, checkpoint.tokenizer, checkpoint.length, _layout(checkpoint), gap) for text in texts
    }


def read_fragments(config: DictConfig, checkpoint: Checkpoint) -> Fragments | None:
    """Return the fragments that all molecules must hold, None if there are none.

    Raises:
        ValueError: If they are no fragments, the model is none of SAFE strings, or there is another template.
    """
    if config.fragments is None:
        return None
    for name in ("infill", "prompt"):
        if config[name] is not None:
            raise ValueError(f"Expected either `fragments` or `{name}`, got both.")
    if not {".", "%10"} <= checkpoint.tokenizer.get_vocab().keys():
        raise ValueError("Expected a model of SAFE strings for `fragments`: `uv run trainer data=safe` trains one.")
    return Fragments(config.fragments)


def fragment_templates(fragments: Fragments, checkpoint: Checkpoint) -> Template | Alternatives:
    """Return the beginnings of SAFE strings that hold the fragments.

    Raises:
        ValueError: If they do not fit the model.
    """
    return read_templates(fragments.templates, checkpoint.tokenizer, checkpoint.length, _layout(checkpoint))


def read_constraints(
    config: DictConfig, checkpoint: Checkpoint, clamp: Int[Tensor, "1 l"] | None
) -> Bool[Tensor, "l v"] | None:
    """Return the tokens that each position may hold; None without constraints.

    Args:
        config: The settings under `constraints`.
        checkpoint: The generator.
        clamp: Tokens that are fixed, -1 at free positions.

    Raises:
        ValueError: If a token is unknown, a position does not exist or has no token left, or a fixed token is
            forbidden.
    """
    settings: Any = OmegaConf.to_container(config, resolve=True)
    if not settings["ban"] and not settings["only"] and settings["length"] is None:
        return None
    tokenizer, length = checkpoint.tokenizer, checkpoint.length
    size = len(tokenizer)
    allowed = anything(length, size)
    if settings["ban"]:
        allowed = allowed & ban(_ids(settings["ban"], tokenizer, "constraints.ban"), length, size)
    if settings["length"] is not None:
        allowed = allowed & _of_length(settings["length"], tokenizer, length)
    if settings["only"]:
        if not isinstance(settings["only"], Mapping):
            raise ValueError(f"Expected `constraints.only` as {{position: [tokens]}}, got {settings['only']}.")
        first = first_position(checkpoint)
        positions = {_position(key, length - first) - 1 + first: key for key in settings["only"]}
        tokens = {i: _ids(settings["only"][key], tokenizer, f"constraints.only.{key}") for i, key in positions.items()}
        allowed = allowed & only(tokens, length, size)
    for position, free in enumerate(allowed.any(-1).tolist()):
        if not free:
            raise ValueError(f"Expected a token that `constraints` allow at position {position}, but there is none.")
    if clamp is not None:
        for position, token in enumerate(clamp[0].tolist()):
            if token >= 0 and not allowed[position, token]:
                word = tokenizer.convert_ids_to_tokens(token)
                raise ValueError(f"Expected a `prompt` that `constraints` allow, but {word!r} is not at {position}.")
    return allowed


def first_position(checkpoint: Checkpoint) -> int:
    """Return the position of a string's first token: 1 after `<bos>`, 0 for sequences without it."""
    return infill.first_position(checkpoint.tokenizer, _layout(checkpoint))


def _layout(checkpoint: Checkpoint) -> Mapping[str, Any]:
    return checkpoint.config["data"].get("layout") or {}


def _of_length(n: Any, tokenizer: PreTrainedTokenizerBase, length: int) -> Bool[Tensor, "l v"]:
    if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
        raise ValueError("Expected no `constraints.length`: all sequences of this model are equally long.")
    if not isinstance(n, int) or isinstance(n, bool) or not 0 <= n <= length - 2:
        raise ValueError(f"Expected 0 <= `constraints.length` <= {length - 2}, got {n}.")
    return exact_length(
        n,
        length,
        len(tokenizer),
        eos_id=tokenizer.eos_token_id,
        pad_id=tokenizer.pad_token_id,
        bos_id=tokenizer.bos_token_id,
        special_ids=tokenizer.all_special_ids,
    )


def _position(key: Any, last: int) -> int:
    if not str(key).isdigit() or not 1 <= int(key) <= last:
        raise ValueError(f"Expected positions from 1 to {last} in `constraints.only`, got {key}.")
    return int(key)


def _ids(tokens: Any, tokenizer: PreTrainedTokenizerBase, name: str) -> list[int]:
    if not isinstance(tokens, list) or not tokens:
        raise ValueError(f"Expected a list of tokens in `{name}`, got {tokens}.")
    vocabulary = tokenizer.get_vocab()
    for token in map(str, tokens):
        if token not in vocabulary:
            similar = _similar(token, vocabulary)
            raise ValueError(f"Expected tokens of the model in `{name}`, got {token!r}: {similar}.")
    return [vocabulary[str(token)] for token in tokens]


def _similar(token: str, vocabulary: Iterable[str]) -> str:
    """Return a clause that names the most similar tokens, or some of the vocabulary."""
    folded: dict[str, list[str]] = {}
    for word in vocabulary:
        folded.setdefault(word.casefold(), []).append(word)
    close = get_close_matches(token.casefold(), folded, n=3, cutoff=0.5)
    similar = [word for key in close for word in folded[key]]
    names = ", ".join(map(repr, similar or sorted(vocabulary)[:40]))
    return f"the nearest {'are' if len(similar) > 1 else 'is'} {names}" if similar else f"its tokens are {names}"
