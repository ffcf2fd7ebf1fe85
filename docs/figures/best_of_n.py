"""Draw docs/images/guidance/best-of-n.png: python docs/figures/best_of_n.py."""

from math import inf
from pathlib import Path

from particles import COUNTS, GAMMA, draw_search, drawn
from world import reward

from discrete_diffusion.guidance import BestOf, Particles


def draw(path: Path) -> None:
    """What is kept of few and many samples, by chance and the best, and how far from the target that is."""
    weighed = {n: drawn(BestOf(reward, n, GAMMA)) for n in (*COUNTS, 32, 64)}
    best = {n: drawn(BestOf(reward, n, inf)) for n in (*COUNTS, 32, 64)}
    particles = {n: drawn(Particles(reward, GAMMA, n, draws=8)) for n in COUNTS}
    shown = {"one of 4": weighed[4], "one of 16": weighed[16], "the best of 16": best[16]}
    lines = {f"γ = {GAMMA}": weighed, "γ = inf": best, "particles": particles}
    draw_search(path, shown, lines, "n")


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "best-of-n.png")
