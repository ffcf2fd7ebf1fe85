"""What the classes of a published classifier are called."""

from collections.abc import Mapping
from typing import Any

from discrete_diffusion.checkpoints.published.config import setting
from discrete_diffusion.datasets import FittedCategoryLabel, Label, ThresholdLabel


def class_names(config: Mapping[str, Any], classes: int, own: Label | None) -> tuple[Label, str]:
    """The classes, and a note of where their names are from: the file has none.

    They are the generator's where there are as many, and numbers else. A generator's threshold is of another question
    if it is one of another column, or if class 1 lies below it: that of the published code lies above.

    Args:
        classes: how many the classifier tells apart.
        own: the generator's label.
    """
    column = setting(config, "data.label_col", None)
    percentile = setting(config, "data.label_col_pctile", None)
    said = "" if column is None else f" (data.label_col={column}"
    said += "" if column is None else ")" if percentile is None else f", data.label_col_pctile={percentile})"
    if own is not None and own.num_classes == classes and _may_be(own, column):
        return own, f"the file does not name its classes{said}: they are called as the generator's"
    label = FittedCategoryLabel(str(column or "label"), tuple(f"class {index}" for index in range(classes)))
    return label, f"the file does not name its classes{said}: they are class 0 to {classes - 1}"


def _may_be(own: Label, column: Any) -> bool:
    if not isinstance(own, ThresholdLabel):
        return True
    return column in (None, own.column) and own.comparison.startswith(">")
