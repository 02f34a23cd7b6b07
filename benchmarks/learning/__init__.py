"""Does it learn? Trainings of the demo's model by one setting against another: several seeds, held-out figures."""
