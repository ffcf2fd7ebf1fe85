"""What samples may be made of."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.evaluator.generation import first_position
from discrete_diffusion.guidance.constraints import anything, ban, exact_length, only


def read_constraints(config: DictConfig, checkpoint: Checkpoint, clamp: Tensor | None) -> Tensor | None:
    """The tokens that each position may hold, (l, v); None where every token may stand everywhere.

    Args:
        clamp: the tokens that are held, (1, l), -1 where a position is free.

    Raises:
        ValueError: if a token is unknown, a position does not exist or has nothing left, or a held token is forbidden.
    """
    given: Any = OmegaConf.to_container(config, resolve=True)
    if not given["ban"] and not given["only"] and given["length"] is None:
        return None
    tokenizer, length = checkpoint.tokenizer, checkpoint.length
    size = len(tokenizer)
    allowed = anything(length, size)
    if given["ban"]:
        allowed = allowed & ban(_ids(given["ban"], tokenizer, "constraints.ban"), length, size)
    if given["length"] is not None:
        allowed = allowed & _of_length(given["length"], tokenizer, length)
    if given["only"]:
        if not isinstance(given["only"], Mapping):
            raise ValueError(f"Expected `constraints.only` as {{position: [tokens]}}, got {given['only']}.")
        first = first_position(checkpoint)
        places = {_position(key, length - first) - 1 + first: key for key in given["only"]}
        tokens = {i: _ids(given["only"][key], tokenizer, f"constraints.only.{key}") for i, key in places.items()}
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


def _of_length(n: Any, tokenizer: PreTrainedTokenizerBase, length: int) -> Tensor:
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
            raise ValueError(f"Expected tokens of the model in `{name}`, got {token!r}: {_near(token, vocabulary)}.")
    return [vocabulary[str(token)] for token in tokens]


def _near(token: str, vocabulary: Iterable[str]) -> str:
    folded: dict[str, list[str]] = {}
    for word in vocabulary:
        folded.setdefault(word.casefold(), []).append(word)
    close = get_close_matches(token.casefold(), folded, n=3, cutoff=0.5)
    near = [word for one in close for word in folded[one]]
    named = ", ".join(map(repr, near or sorted(vocabulary)[:40]))
    return f"the nearest {'are' if len(near) > 1 else 'is'} {named}" if near else f"there are {named}"
