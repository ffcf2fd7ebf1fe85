"""Draw docs/images/guidance/fudge.png: python docs/figures/fudge.py."""

from pathlib import Path

from panels import draw_row
from world import LeftToRight, target

from discrete_diffusion.guidance import FUDGE


def draw(path: Path) -> None:
    """Draw the left-to-right distribution unguided, at two strengths and with few candidates, beside the targets."""
    model = LeftToRight()
    settings = {"γ = 1": (1, None), "γ = 1, top_k = 4": (1, 4), "γ = 5": (5, None)}
    distributions = {
        name: model.distribution(FUDGE(model, model.likelihood, gamma, k)) for name, (gamma, k) in settings.items()
    }
    draw_row(
        path,
        [
            ("γ = 0", model.distribution(model)),
            ("γ = 1", distributions["γ = 1"]),
            ("p(x | y)", target(1)),
            ("γ = 1, top_k = 4", distributions["γ = 1, top_k = 4"]),
            ("γ = 5", distributions["γ = 5"]),
            ("aimed at, γ = 5", target(5)),
        ],
    )


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "fudge.png")
