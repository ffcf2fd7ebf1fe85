"""The two conditions that schedules ask of their numbers."""


def expect_eps(eps: float) -> None:
    """Survival at t = 1 must leave room below one, and its logarithm must be finite."""
    if not 0 < eps < 1:
        raise ValueError(f"Expected 0 < `eps` < 1, got {eps}.")


def expect_sigmas(sigma_min: float, sigma_max: float) -> None:
    """The total noise must grow, from above zero."""
    if not 0 < sigma_min < sigma_max < float("inf"):
        raise ValueError(f"Expected 0 < `sigma_min` < `sigma_max` < inf, got {sigma_min} and {sigma_max}.")
