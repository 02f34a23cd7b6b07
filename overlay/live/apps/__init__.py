"""Phone-like apps of our own: plain pages over a JSON state, and a judge that looks at the state alone."""
