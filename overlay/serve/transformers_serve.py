"""`transformers serve` that samples where a request asks it to: see `install`.

python -m overlay.serve.transformers_serve serve MODEL --port 8000
"""

import sys
from functools import wraps
from typing import Any


def install(handler: type) -> None:
    """Have `temperature` above 0 sample.

    Symptom: transformers serve takes the temperature of a request, but samples only where the model's own
    generation_config.json has `do_sample`, so all of k samples of a prompt are the greedy one. A model that has it
    keeps its own top_k and top_p; another one is sampled from whole, as in training. Drop this when
    tests/serve/test_sampling.py passes without it.
    """
    theirs: Any = vars(handler)["_build_generation_config"]

    @wraps(theirs)
    def build(self: Any, body: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        config = theirs(self, body, *args, **kwargs)
        if body.get("temperature") and not config.do_sample:
            config.do_sample, config.top_k, config.top_p = True, 0, body.get("top_p") or 1.0
        return config

    setattr(handler, theirs.__name__, build)


def main() -> None:
    """Be `transformers` with these arguments."""
    from transformers.cli.serving.utils import BaseHandler
    from transformers.cli.transformers import main

    install(BaseHandler)
    main()


if __name__ == "__main__":
    sys.exit(main())
