"""Numbers and tables of the report."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discrete_diffusion.evaluator.pictures import pretty

Rows = Sequence[Mapping[str, Any]]
COST = {
    "network_evaluations": "network evaluations",
    "classifier_rows": "classifier rows",
    "reward_calls": "reward calls",
    "seconds": "seconds",
}
PARTICLES = {"mean_ess_share": "effective particles", "resampled_share": "searches resampled"}
KEYS = ("sampler", "setting", "steps", "guidance", "gamma", "condition", "property", "seeds")
OF_SAMPLERS = {
    "evaluations_per_sample": "evaluations for each sample",
    "entropy": "token entropy",
    "distinct_4grams": "distinct 4-grams",
    "distinct_share": "distinct samples",
}
WORDS = ("sampler", "setting", "guidance", "condition")
OF_CLASSES = ("judged_", "f1_", "precision_", "recall_", "support_")
EXTRA = 8  # columns of a domain's own in the table of the sweep; all of them are in that of every number


@dataclass(frozen=True)
class Cell:
    """Cell: text, half-width of the confidence interval, sort key, and share of the largest value."""

    text: str
    interval: str = ""
    order: float | str | None = None
    share: float | None = None


@dataclass(frozen=True)
class Table:
    """Headings, whether each column holds words, rows, and a last row that is not sorted."""

    headings: Sequence[str]
    words: Sequence[bool]
    rows: Sequence[Sequence[Cell]]
    last: Sequence[Cell] = ()


def number(value: float | str | None, half: float | None = None, *, decimals: int | None = None) -> str:
    """Return a number as text, and a dash for None or NaN.

    Args:
        value: The number; infinities in summary.json are strings.
        half: Half-width of the confidence interval, which sets two of its digits as the precision.
        decimals: Fixed number of decimals; without `half` and `decimals`, about four significant digits.
    """
    if value is None:
        return "–"
    value = float(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) >= 1e15 or (abs(value) >= 1e7 and value != round(value)):
        return f"{value:.2e}"
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    if half:
        return f"{value:,.{_decimals(half, 1)}f}"
    if value == round(value):
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.2e}"
    text = f"{value:,.{_decimals(value, 3)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def around(half: float | None) -> str:
    """Return the half-width of an interval with two digits, or the empty string."""
    return number(half, half) if half else ""


def sweep_table(results: Rows, training: Mapping[str, Any], shown: Mapping[str, str]) -> Table:
    """Return the table of conditions, with the training data in the last row."""
    name = pretty(training["property"])
    compared = {heading: key for key, heading in OF_SAMPLERS.items() if "sampler" in results[0]}
    apart = {*compared.values(), *KEYS, *shown, *COST, *PARTICLES}
    apart |= {"generated", "novel_property_mean", "novel_property_median"}
    covered = ("_ci95", "_fraction", "_raw")
    own = [
        key
        for key in _keys(results)
        if key not in apart
        and not key.endswith(covered)
        and not key.startswith(OF_CLASSES)
        and "_property_" not in key
        and _any(results, key)
    ]
    columns = {
        **_conditions(results),
        "samples": "generated",
        **compared,
        **{heading: key for key, heading in shown.items()},
        f"mean {name} of novel": "novel_property_mean",
        "median": "novel_property_median",
        **{key.replace("_", " "): key for key in own[:EXTRA]},
    }
    known = {"novel_property_mean": training["mean"], "novel_property_median": training["median"]}
    first = next(iter(columns))
    last = [
        Cell("training data" if heading == first else number(known[key]) if key in known else "")
        for heading, key in columns.items()
    ]
    return _table(results, columns, last)


def cost_table(results: Rows) -> Table:
    """Return the table of costs per seed; columns of zeros are left out."""
    columns = _conditions(results) | {"samples": "generated"}
    columns |= {heading: key for key, heading in (COST | PARTICLES).items() if any(row.get(key) for row in results)}
    table = _table(results, columns)
    most = max(row["seconds"] for row in results) or 1.0
    at = list(columns).index("seconds") if "seconds" in columns else None
    rows = []
    for cells, row in zip(table.rows, results, strict=True):
        per = 1000 * row["seconds"] / row["generated"]
        bar = [
            Cell(cell.text, cell.interval, cell.order, row["seconds"] / most) if index == at else cell
            for index, cell in enumerate(cells)
        ]
        rows.append([*bar, Cell(number(per), order=per)])
    return Table([*table.headings, "seconds per 1,000"], [*table.words, False], rows)


def every_table(results: Rows) -> Table:
    """Return the table of all numbers."""
    keys = [key for key in _keys(results) if not key.endswith("_ci95") and key not in KEYS and _any(results, key)]
    return _table(results, _conditions(results) | {"seeds": "seeds"} | {key.replace("_", " "): key for key in keys})


def likelihood_parts(likelihood: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of the likelihood with standard errors, and its parts with their shares."""
    known = ("nats_per_sequence", "bits_per_token", "bits_per_character", "bits_per_dimension", "perplexity")
    numbers = [
        (key.replace("_", " "), number(likelihood[key], error := likelihood.get(f"{key}_error")), around(error))
        for key in known
        if key in likelihood
    ]
    end = "_nats_per_sequence"
    parts = {key.removesuffix(end): value for key, value in likelihood.items() if key.endswith(end)}
    sizes = [value if isinstance(value, float | int) else math.nan for value in parts.values()]
    whole = sum(sizes)
    drawable = whole > 0 and all(size >= 0 for size in sizes)
    bars = [
        {"name": name, "nats": number(value), "share": size / whole if drawable else None, "color": index % 4}
        for index, ((name, value), size) in enumerate(zip(parts.items(), sizes, strict=True))
    ]
    return {
        "numbers": numbers,
        "parts": bars,
        "drawable": drawable,
        "sequences": number(likelihood["sequences"]),
        "tokens": number(likelihood["tokens"]),
        "repeats": likelihood.get("repeats"),
    }


def order_table(likelihood: Mapping[str, Any]) -> Table | None:
    """Return the bound and the exact likelihood under each order, with their costs; None without orders."""
    if "orders" not in likelihood:
        return None
    headings = ("sampler", "nats per sequence", "bits per token", "perplexity", "evaluations for each sequence")
    rows = {"any order (upper bound)": {**likelihood, "evaluations_per_sequence": likelihood["repeats"]}}
    rows |= {f"{name.replace('_', ' ')} first (exact)": row for name, row in likelihood["orders"].items()}
    keys = ("nats_per_sequence", "bits_per_token", "perplexity", "evaluations_per_sequence")
    cells = [
        [
            Cell(name, order=name),
            *(Cell(number(row[key], half := row.get(f"{key}_error")), around(half), float(row[key])) for key in keys),
        ]
        for name, row in rows.items()
    ]
    return Table(headings, [True, False, False, False, False], cells)


def _conditions(results: Rows) -> dict[str, str]:
    several = len({row["guidance"] for row in results}) > 1
    samplers = {"sampler": "sampler", "setting": "setting"} if "sampler" in results[0] else {}
    return samplers | ({"guidance": "guidance"} if several else {}) | {"γ": "gamma", "condition": "condition"}


def _table(results: Rows, columns: Mapping[str, str], last: Sequence[Cell] = ()) -> Table:
    tell: Callable[[Mapping[str, Any], str], Cell] = _cell
    words = [key in WORDS for key in columns.values()]
    return Table(list(columns), words, [[tell(row, key) for key in columns.values()] for row in results], last)


def _cell(row: Mapping[str, Any], key: str) -> Cell:
    value, half = row.get(key), row.get(f"{key}_ci95")
    if key in WORDS:
        return Cell(row[key], order=row[key])
    order = None if value is None else float(value)
    if key in PARTICLES and value is not None:
        return Cell(f"{value:.0%}", order=order)
    return Cell(number(value, half), around(half), order)


def _keys(results: Rows) -> list[str]:
    """Return the keys of all conditions: some are measured only with a requested class."""
    return list(dict.fromkeys(key for row in results for key in row))


def _any(results: Rows, key: str) -> bool:
    return any(row.get(key) is not None for row in results)


def _decimals(value: float, digits: int) -> int:
    return min(max(digits - math.floor(math.log10(abs(value))), 0), 4)
