"""Render MiniWoB++ pages into the step tree that `make data` reads: the demo's data, which nobody here wrote."""
