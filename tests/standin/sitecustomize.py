"""On PYTHONPATH of a test's ranks: they take the stand-in (tests/vllm_standin.py) for vLLM's server."""

from tests.vllm_standin import believe

believe()
