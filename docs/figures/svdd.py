"""Draw docs/images/guidance/svdd.png: python docs/figures/svdd.py."""

from math import inf
from pathlib import Path

from particles import COUNTS, GAMMA, draw_search, drawn
from world import reward

from discrete_diffusion.guidance import SVDD


def draw(path: Path) -> None:
    """What a choice among few and many candidates draws, at a strength and of the best, and how far that is off."""
    weighed = {m: drawn(SVDD(reward, GAMMA, m)) for m in COUNTS}
    best = {m: drawn(SVDD(reward, inf, m)) for m in COUNTS}
    shown = {"4 candidates": weighed[4], "16 candidates": weighed[16], "16, the best": best[16]}
    draw_search(path, shown, {f"γ = {GAMMA}": weighed, "γ = inf": best}, "candidates")


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "svdd.png")
