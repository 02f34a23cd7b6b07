"""Is a change more than chance? Means and standard errors over independent runs."""

from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev


@dataclass(frozen=True)
class Difference:
    """Mean difference over runs and its standard error (None for a single run)."""

    mean: float
    standard_error: float | None
    values: tuple[float, ...]

    @property
    def rose(self) -> bool:
        """Whether the mean is above zero by more than two standard errors (one run: above zero)."""
        return self.mean > 2 * (self.standard_error or 0.0) and self.mean > 0

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.3f}"
        each = ", ".join(f"{value:+.3f}" for value in self.values)
        return f"{self.mean:+.3f}{error} ({'rose' if self.rose else 'did not rise'}; each run {each})"


def difference(values: list[float]) -> Difference:
    """Mean and standard error of per-run differences."""
    error = stdev(values) / sqrt(len(values)) if len(values) > 1 else None
    return Difference(mean(values), error, tuple(values))
