"""Tables of the results: against the committed baseline, and for the documentation.

python -m benchmarks.report RESULTS             print every ratio, now and in the baseline
python -m benchmarks.report RESULTS --write     make RESULTS the baseline, and rewrite the table of the documentation
"""

import argparse
import json
from pathlib import Path

BASELINE = Path(__file__).with_name("baseline.json")
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_MARKS = "<!-- table: written by benchmarks/report.py -->\n", "<!-- end of table -->\n"
_KEPT = ("size", "ratio", "memory_ratio", "seconds", "time_over_floor")


def baseline() -> dict:
    """Return the committed results."""
    return json.loads(BASELINE.read_text())


def digest(results: dict) -> dict:
    """Return what the tables need of a JSON file by pytest-benchmark."""
    found = [entry["extra_info"] for entry in results["benchmarks"]]
    return {
        "processor": found[0]["processor"],
        "torch": found[0]["torch"],
        "rates": found[0]["rates"],
        "rows": {entry["name"]: _row(entry) for entry in found},
    }


def _row(entry: dict) -> dict:
    row = {
        **entry,
        "memory_ratio": entry["memory"] / entry["textbook_memory"] if entry["memory"] else None,
        "time_over_floor": entry["seconds"] / entry["floor_seconds"],
    }
    return {key: _rounded(row[key]) for key in _KEPT}


def _rounded(value):
    return float(f"{value:.3g}") if isinstance(value, float) else value


def table(results: dict) -> str:
    """Return the table of the documentation, in Markdown."""
    rates = results["rates"]
    lines = [
        f"Processor: {results['processor']}; torch {results['torch']}; measured {rates['matmul'] / 1e9:.0f} Gflop/s in "
        f"float32 matrix products and {rates['copy'] / 1e9:.0f} GB/s in copies.",
        "",
        "| work | batch, length, vocabulary | time | time / textbook | memory / textbook | time / floor |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in results["rows"].items():
        size, memory = ", ".join(f"{n:,}" for n in row["size"]), row["memory_ratio"]
        lines.append(
            f"| {name} | {size} | {1000 * row['seconds']:,.0f} ms | {row['ratio']:.2f} | "
            f"{'' if memory is None else f'{memory:.2f}'} | {row['time_over_floor']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def comparison(now: dict, then: dict) -> str:
    """Return one line per row: the ratio to the textbook now, in the baseline, and their quotient."""
    lines = [f"{'time / textbook':45}{'now':>8}{'then':>8}{'now / then':>12}"]
    for name, row in now["rows"].items():
        before = then["rows"].get(name, {}).get("ratio")
        change = f"{before:8.2f}{row['ratio'] / before:12.2f}" if before else f"{'new':>8}"
        lines.append(f"{name:45}{row['ratio']:8.2f}{change}")
    return "\n".join(lines)


def write(results: dict) -> None:
    """Make the results the baseline, and rewrite the table of the documentation."""
    BASELINE.write_text(json.dumps(results, indent=1) + "\n")
    start, end = _MARKS
    head, rest = PAGE.read_text().split(start)
    PAGE.write_text(head + start + "\n" + table(results) + "\n" + end + rest.split(end)[1])


def main() -> None:
    """Print the comparison, or write the baseline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="JSON file by pytest-benchmark")
    parser.add_argument("--write", action="store_true", help="make it the baseline")
    arguments = parser.parse_args()
    results = digest(json.loads(arguments.results.read_text()))
    if arguments.write:
        write(results)
    elif BASELINE.exists():
        print(comparison(results, baseline()))


if __name__ == "__main__":
    main()
