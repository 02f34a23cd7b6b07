"""The judge's settings: flags of both backends. Address and key come from the environment only."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from overlay.errors import SettingError


@dataclass(kw_only=True)
class JudgeArguments:
    """How the rewards of method `llm` are asked for. Limits are for the whole run and shared among its ranks."""

    judge_model: str | None = field(default=None, metadata={"help": "Model name that the judge's server knows."})
    judge_prompt: str | None = field(default=None, metadata={"help": "File with the judge's instructions."})
    judge_concurrency: int = field(default=64, metadata={"help": "Requests in flight, over all ranks."})
    judge_timeout: float = field(default=30.0, metadata={"help": "Seconds for one request."})
    judge_deadline: float = field(default=120.0, metadata={"help": "Seconds for all requests of a step."})
    judge_retries: int = field(default=3, metadata={"help": "Tries again on 429, 5xx and broken connections."})
    judge_cache_dir: str | None = field(
        default=None, metadata={"help": "Node-local folder of verdicts kept for all ranks and runs; '' keeps none."}
    )
    judge_structured: bool = field(
        default=True, metadata={"help": "Ask the server for JSON by schema (response_format)."}
    )
    judge_max_failure: float = field(
        default=0.5, metadata={"help": "The run stops when a larger share of a step's answers gets no verdict."}
    )

    def __post_init__(self) -> None:
        if not 0 < self.judge_timeout <= self.judge_deadline <= 480:
            raise SettingError(
                f"--judge_timeout {self.judge_timeout} and --judge_deadline {self.judge_deadline}: need "
                "0 < timeout <= deadline <= 480 seconds, well under the 600 after which NCCL gives up"
            )
        if self.judge_concurrency < 1 or self.judge_retries < 0 or not 0 <= self.judge_max_failure <= 1:
            raise SettingError(
                "--judge_concurrency needs 1 or more, --judge_retries 0 or more, --judge_max_failure 0 to 1"
            )
        if self.judge_prompt and not Path(self.judge_prompt).is_file():
            raise SettingError(f"--judge_prompt {self.judge_prompt}: no such file")


def server() -> tuple[str, str]:
    """(address, key) from OPENAI_API_BASE and OPENAI_API_KEY. The key is never a flag: flags show in process lists."""
    base = os.environ.get("OPENAI_API_BASE")
    if not base:
        raise SettingError("reward method llm: set OPENAI_API_BASE (and OPENAI_API_KEY where the server wants one)")
    return base, os.environ.get("OPENAI_API_KEY") or "none"
