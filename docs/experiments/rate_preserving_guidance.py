"""Draw docs/images/rate-preserving-guidance.png, and print the tables, from rate_preserving_guidance.csv.

uv run python docs/experiments/rate_preserving_guidance.py
"""

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from discrete_diffusion.eval import MUTED, new_figure, save_figure, series_style, style_axes

HERE = Path(__file__).parent
METHODS = {
    "exact_kernel": "exact, on the kernel (the paper's)",
    "exact_denoiser": "exact, rate-preserving",
    "first_kernel": "first order, on the kernel",
    "first_denoiser": "first order, rate-preserving",
}
PUBLISHED: dict[tuple[str, str], dict[int, float]] = {
    ("mdlm", "qed"): {1: 526, 2: 525, 3: 418, 5: 25},
    ("udlm", "qed"): {1: 933, 2: 911, 3: 941, 5: 968, 10: 995},
    ("mdlm", "ring_count"): {1: 144, 2: 0.4},
    ("udlm", "ring_count"): {1: 797, 2: 829, 3: 863, 5: 889, 10: 892},
}
NAMES = {"mdlm": "MDLM", "udlm": "UDLM", "qed": "QED", "ring_count": "ring count"}
GAMMAS = ("0", "1", "2", "3", "5", "10")
SMALL, PAPERS = "636685", "92449837"  # parameters of the generator: ours for a CPU, and one of the paper's size
Rows = list[dict[str, str]]


def read(parameters: str) -> dict[tuple[str, ...], Rows]:
    """Return the runs of each process, property, method and gamma; other time inputs than in training are separate."""
    cells = defaultdict(list)
    with (HERE / "rate_preserving_guidance.csv").open() as file:
        for row in csv.DictReader(file):
            if row["parameters"] == parameters:
                method = row["method"] + ("_zeroed" if row["zeroed"] == "1" else "")
                cells[row["process"], row["property"], method, row["gamma"]].append(row)
    return cells


def mean(rows: Rows, column: str) -> float | None:
    """Over seeds, of those that have a value."""
    values = [float(row[column]) for row in rows if row[column]]
    return sum(values) / len(values) if values else None


def number(value: float | None, decimals: int = 0) -> str:
    """For a table."""
    return "–" if value is None else f"{value:,.{decimals}f}"


def table(cells: dict[tuple[str, ...], Rows], process: str, prop: str, methods: Iterable[str]) -> str:
    """One line for each method and gamma."""
    heading = ("method", "gamma", "seeds", "valid", "unique", "novel", "mean of novel", "seconds", "classifier rows")
    lines = ["| " + " | ".join(heading) + " |", "|---|" + "---:|" * (len(heading) - 1)]
    for method in methods:
        for gamma in GAMMAS:
            rows = cells.get((process, prop, method, gamma))
            if not rows:
                continue
            counts = [number(mean(rows, name)) for name in ("valid", "unique", "novel")]
            timed = [row for row in rows if row["device"] == "H100"]
            cost = [number(mean(timed, "seconds"), 1), number(mean(rows, "rows"))]
            name = METHODS.get(method.removesuffix("_zeroed"), "unguided")
            cells = [name, gamma, str(len(rows)), *counts, number(mean(rows, "mean_novel"), 3), *cost]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def short_table(cells: dict[tuple[str, ...], Rows], process: str) -> str:
    """One line for each method and gamma, both properties side by side, what is published beside the kernel's."""
    heading = ["method", "gamma"]
    for prop in ("qed", "ring_count"):
        heading += [f"{NAMES[prop]}: valid", "published", "novel", "mean of novel"]
    lines = ["| " + " | ".join(heading) + " |", "|---|" + "---:|" * (len(heading) - 1)]
    for method in ("none", "exact_kernel", "exact_denoiser"):
        for gamma in GAMMAS:
            cells = [METHODS.get(method, "unguided"), gamma]
            runs = [cells.get((process, prop, method, gamma), []) for prop in ("qed", "ring_count")]
            if not any(runs):
                continue
            for prop, rows in zip(("qed", "ring_count"), runs, strict=True):
                published = PUBLISHED[process, prop].get(int(gamma)) if method == "exact_kernel" else None
                cells += [number(mean(rows, "valid")), "–" if published is None else f"{published:g}"]
                cells += [number(mean(rows, "novel")), number(mean(rows, "mean_novel"), 3)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(cells: dict[tuple[str, ...], Rows], path: Path) -> None:
    """Valid samples against gamma."""
    figure = new_figure(11.0, 8.2)
    for place, (process, prop) in enumerate(PUBLISHED):
        axes = figure.add_subplot(2, 2, place + 1)
        y_label = "valid of 1,024" if place % 2 == 0 else ""
        x_label = "γ" if place > 1 else ""
        style_axes(axes, title=f"{NAMES[process]}, {NAMES[prop]}", x_label=x_label, y_label=y_label, pad=8.0)
        for index, (method, name) in enumerate(METHODS.items()):
            runs = {g: cells.get((process, prop, "none" if g == "0" else method, g)) for g in GAMMAS}
            known = {GAMMAS.index(g): mean(rows, "valid") for g, rows in runs.items() if rows}
            axes.plot(list(known), list(known.values()), label=name, linewidth=1.6, **series_style(index))
        published = PUBLISHED[process, prop]
        places = [GAMMAS.index(str(gamma)) for gamma in published]
        axes.plot(places, list(published.values()), ":", color=MUTED, marker=".", label="published, on the kernel")
        axes.set_xticks(range(len(GAMMAS)), GAMMAS)
        axes.set_ylim(0, 1024)
    figure.subplots_adjust(left=0.075, right=0.985, top=0.93, bottom=0.13, wspace=0.14, hspace=0.28)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False, fontsize=10)
    save_figure(figure, path)


if __name__ == "__main__":
    cells = read(SMALL)
    draw(cells, HERE.parent / "images" / "rate-preserving-guidance.png")
    for process, prop in PUBLISHED:
        print(f"\n{NAMES[process]}, {NAMES[prop]}:\n\n{table(cells, process, prop, ['none', *METHODS])}")
    print("\nClassifier trained with its time input zeroed, evaluated with it on:\n")
    for prop in ("qed", "ring_count"):
        print(table(cells, "udlm", prop, ["first_kernel_zeroed"]), "\n")
    print("\nA generator of the paper's size:")
    for process in ("mdlm", "udlm"):
        print(f"\n{NAMES[process]}:\n\n{short_table(read(PAPERS), process)}")
