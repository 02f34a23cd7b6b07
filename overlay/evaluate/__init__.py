"""Score answers on a held-out file: generation, metrics with their N, baselines, the page."""
