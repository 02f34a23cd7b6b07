"""Plots of the pages, as inline SVG."""

import io

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt


def svg(figure: plt.Figure) -> str:
    """The figure's SVG element, the same for the same figure; the figure is closed."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]
