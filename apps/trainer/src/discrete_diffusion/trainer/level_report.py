"""Report of a classifier's validations by noise level."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L

from discrete_diffusion.eval import draw_noise_levels, write_noise_levels
from discrete_diffusion.trainer.classifier import Classifier
from discrete_diffusion.trainer.fitting import print_above_progress_bar

MEASURE_FORMATS = {
    "accuracy": "accuracy {:.0%} (always the most common class {majority:.0%})",
    "f1_positive": "F1 {:.2f}",
    "f1_macro": "macro F1 {:.2f}",
    "ece": "calibration error {:.1%}",
    "r2": "R² {:.2f}",
    "rmse": "root mean square error {:.3g}",
    "within_sigma": "{:.0%} within one σ",
}


class LevelReport(L.Callback):
    """Callback that prints the measures of each validation, appends them by level to a table, and plots the last.

    Args:
        directory: Run folder; the table is metrics/noise_levels.csv, the plot noise_levels.png.
        title: Title of the plot.
        note: Line below the plot.
    """

    def __init__(self, directory: Path, *, title: str, note: str) -> None:
        self.directory, self.title, self.note = directory, title, note
        self.rows: list[Mapping[str, float | None]] = []
        self.step: int | None = None

    @property
    def table(self) -> Path:
        """Path of the table."""
        return self.directory / "metrics" / "noise_levels.csv"

    @property
    def picture(self) -> Path:
        """Path of the plot."""
        return self.directory / "noise_levels.png"

    def state_dict(self) -> dict[str, Any]:
        """Return the rows of the table, for a resumed run."""
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows of the table."""
        self.rows = list(state_dict["rows"])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the measures and write the table and the plot."""
        if trainer.sanity_checking or not isinstance(pl_module, Classifier):
            return
        self.step = trainer.global_step
        if not trainer.is_global_zero:
            return
        overall = pl_module.overall
        measures = [
            form.format(value, **overall)
            for name, form in MEASURE_FORMATS.items()
            if (value := overall.get(name)) is not None
        ]
        line = " | ".join([f"step {self.step}", f"validation {overall['loss']:.3f} nats", *measures])
        print_above_progress_bar(trainer, line)
        if pl_module.view.levels is None:
            return
        self.rows += [{"step": self.step, **row} for row in pl_module.by_level]
        write_noise_levels(self.rows, self.table)
        draw_noise_levels(
            pl_module.by_level, self.picture, level_name=pl_module.view.levels, title=self.title, note=self.note
        )
