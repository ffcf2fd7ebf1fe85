"""Validation of the parameters of schedules."""


def expect_eps(eps: float) -> None:
    """Check the survival at t = 1: below one, and with a finite logarithm.

    Raises:
        ValueError: If `eps` is not in (0, 1).
    """
    if not 0 < eps < 1:
        raise ValueError(f"Expected 0 < `eps` < 1, got {eps}.")


def expect_sigmas(sigma_min: float, sigma_max: float) -> None:
    """Check that the total noise is positive and increasing.

    Raises:
        ValueError: If not 0 < `sigma_min` < `sigma_max` < inf.
    """
    if not 0 < sigma_min < sigma_max < float("inf"):
        raise ValueError(f"Expected 0 < `sigma_min` < `sigma_max` < inf, got {sigma_min} and {sigma_max}.")
