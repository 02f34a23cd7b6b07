"""Every flag of this project that is not a field of TRL's or VLM-R1's own classes, checked when it is parsed.

Each class is a part of a backend's command line: `overlay.backends.trl.arguments` and
`overlay.backends.vlm_r1.hooks.script_arguments` put them together. Nothing heavy is imported here.
"""

from dataclasses import dataclass, field
from pathlib import Path

from overlay.action.clicks import CLICKS
from overlay.action.completion import ANSWER_TAG, TAGS
from overlay.action.space import SPACES
from overlay.errors import SettingError

OVERLONG = ("fail", "filter", "shrink")
LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo")
SCALES = ("group", "batch", "none")
VLLM_MODES = ("colocate", "server")
PLAYED_FROM = 100_000  # seeds from here on are make play's; no training, nor the demo's held-out steps, uses them
EPISODES = ("no", "semi-online", "live")
MOST_EARLIER = 8  # screens of earlier steps that a prompt can show
LEAST_CROP = 0.05  # of their shorter side


def one_of(flag: str, value: str, known: tuple[str, ...]) -> None:
    """Raise SettingError when a flag's value is not one of those that are known."""
    if value not in known:
        raise SettingError(f"--{flag} {value!r} is none of {', '.join(known)}")


def share_range(flag: str, value: str) -> tuple[float, float]:
    """(low, high) of a flag's `LOW:HIGH`. SettingError for what is no range of shares.

    >>> share_range("difficulty", "0.1:0.9")
    (0.1, 0.9)
    """
    low, colon, high = value.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        found = (1.0, 0.0)
    if not colon or not 0 <= found[0] <= found[1] <= 1:
        raise SettingError(f"--{flag} {value}: give LOW:HIGH, two shares between 0 and 1, such as 0.1:0.9")
    return found


def check_crop(value: float) -> None:
    """SettingError where `--history_crop` is no share."""
    if not (value == 0 or LEAST_CROP <= value <= 1):
        raise SettingError(f"--history_crop {value:g}: a share from {LEAST_CROP} to 1, or 0 for whole screens")


@dataclass(kw_only=True)
class RowArguments:
    """Which rows are held out, how the model counts coordinates, and what happens to prompts that are too long."""

    coordinate_space: str = field(
        default="auto",
        metadata={
            "help": "The model's coordinates: original pixels, resized (Qwen2.5-VL's own), norm1000, or auto: those "
            "that it was trained in, else its family's."
        },
    )
    prompt_template: str | None = field(
        default=None,
        metadata={
            "help": "Template of --task_type gui for rows without one: zh, en or a file; by default as the model was "
            "trained, else zh."
        },
    )
    overlong: str = field(
        default="fail",
        metadata={"help": "Prompts over --max_prompt_length: fail, filter (leave out), or shrink (their images)."},
    )
    thinking: bool | None = field(
        default=None,
        metadata={
            "help": "false: prompts ask for the answer alone, and the format is that; by default as the model was "
            "trained, else true; docs/prompt.md."
        },
    )
    answer_format: str | None = field(
        default=None,
        metadata={
            "help": f"How prompts ask for the answer and rewards read it: {', '.join(TAGS)} (Qwen's mobile_use); by "
            f"default as the model was trained, else {ANSWER_TAG}; docs/prompt.md."
        },
    )
    history_screens: int | None = field(
        default=None,
        metadata={
            "help": "Most screens of earlier steps before a row's own, 0 to 8; by default as the model was trained, "
            "else 0; docs/prompt.md."
        },
    )
    history_crop: float | None = field(
        default=None,
        metadata={
            "help": "Of each a square around where its action landed, this share of its shorter side, 0 for all of "
            "it; by default as the model was trained, else 0; docs/prompt.md."
        },
    )
    difficulty: str | None = field(
        default=None,
        metadata={"help": "LOW:HIGH, such as 0.1:0.9: train on rows whose difficulty (make difficulty) lies there."},
    )
    data_weights: str | None = field(
        default=None,
        metadata={
            "help": "One number for each data file, such as 1:3: their parts of an epoch; by default their rows'."
        },
    )
    curriculum_epochs: int = field(
        default=0,
        metadata={"help": "First epochs whose rows come easy first, by difficulty (make difficulty); 0: none."},
    )
    resume_changed: bool = field(
        default=False,
        metadata={"help": "Go on from the checkpoint in --output_dir although it is of a run with other settings."},
    )
    eval_data_file_paths: str | None = field(
        default=None, metadata={"help": "Held-out data files for --eval_strategy, separated by ':'."}
    )
    eval_image_folders: str | None = field(
        default=None, metadata={"help": "Their image folders, separated by ':'; by default --image_folders."}
    )
    eval_reward_method: str | None = field(
        default=None, metadata={"help": "Their accuracy methods, separated by ':'; by default --reward_method."}
    )

    def __post_init__(self) -> None:
        one_of("coordinate_space", self.coordinate_space, ("auto", *SPACES))
        if self.answer_format is not None:
            one_of("answer_format", self.answer_format, tuple(TAGS))
        one_of("overlong", self.overlong, OVERLONG)
        if self.difficulty is not None:
            share_range("difficulty", self.difficulty)
        if not 0 <= (self.history_screens or 0) <= MOST_EARLIER:
            raise SettingError(f"--history_screens {self.history_screens}: a number from 0 to {MOST_EARLIER}")
        check_crop(self.history_crop or 0.0)
        if self.curriculum_epochs < 0:
            raise SettingError(f"--curriculum_epochs {self.curriculum_epochs}: a number of at least 0")


@dataclass(kw_only=True)
class TrainerOptions:
    """What the trainers' mixin reads (`overlay.training.trainer`)."""

    rollout_log_mb: float = field(
        default=50.0,
        metadata={"help": "Megabytes of completions with their rewards kept by each rank (make rollouts); 0: none."},
    )
    click_reward: str = field(
        default="box", metadata={"help": f"How gui_action scores a click: {', '.join(CLICKS)}; see docs/rewards.md."}
    )
    share_prompts: bool = field(
        default=True,
        metadata={"help": "Compute each prompt, and each image of it, once for all of its completions on a rank."},
    )
    tokens_per_pass: int = field(
        default=0,
        metadata={"help": "Most tokens, prompts counted once, of a pass through the model; 0: the whole batch is one."},
    )
    least_blame: float = field(
        default=1.0,
        metadata={
            "help": "Negative advantages of a group are multiplied by this where none of its answers is right, by 1 "
            "where all are, in between by the share that is; 1: left as they are. See docs/training.md."
        },
    )
    dynamic_sampling: int = field(
        default=0,
        metadata={"help": "Most batches of new prompts generated in place of groups with equal rewards; 0: none."},
    )
    generate_ahead: int = field(
        default=0,
        metadata={"help": "1: a vLLM server makes the next batch while this one is trained on; see docs/vllm.md."},
    )
    vllm_request_timeout: float = field(
        default=600.0, metadata={"help": "Seconds that a vLLM server (--vllm_mode server) has for one request."}
    )

    episodes: str = field(
        default="no",
        metadata={
            "help": "Train on rows one by one (no), on recorded tasks step by step (semi-online), or on pages in a "
            "browser (live): docs/episodes.md."
        },
    )
    episode_steps: int = field(
        default=4, metadata={"help": "Most steps of an episode in a batch; a longer task is cut into several."}
    )
    patches: int = field(
        default=1, metadata={"help": "Wrong steps of an episode that the recorded action stands in for; then it ends."}
    )
    episode_discount: float = field(
        default=0.5, metadata={"help": "What the reward of an episode's next step counts for this one's return."}
    )
    episode_weight: float = field(
        default=1.0, metadata={"help": "Weight of the whole episode's advantage beside the step's own."}
    )

    live_pages: str = field(
        default="phone", metadata={"help": "Pages of --episodes live: phone, apps, miniwob, or a module of your own."}
    )
    live_tasks: str | None = field(
        default=None, metadata={"help": "Names of their tasks, separated by ':'; by default all but the held-out ones."}
    )
    live_seeds: int = field(default=1000, metadata={"help": "Episodes of each task: seeds from 0 on."})
    browsers: int = field(default=2, metadata={"help": "Browsers of each process, which pages are spread over."})

    def check(self) -> None:
        """Raise SettingError when a value is impossible."""
        one_of("click_reward", self.click_reward, tuple(CLICKS))
        one_of("episodes", self.episodes, EPISODES)
        if self.episode_steps < 1 or self.patches < 0 or not 0 <= self.episode_discount <= 1:
            raise SettingError("--episode_steps needs 1 or more, --patches 0 or more, --episode_discount 0 to 1")
        if self.live_seeds < 1 or self.browsers < 1:
            raise SettingError("--live_seeds and --browsers need 1 or more")
        if self.live_seeds > PLAYED_FROM:
            raise SettingError(
                f"--live_seeds {self.live_seeds}: at most {PLAYED_FROM}, for make play asks the seeds from there on"
            )
        if self.episodes != "no" and (self.dynamic_sampling or self.generate_ahead):
            raise SettingError(f"--episodes {self.episodes}: not with --dynamic_sampling or --generate_ahead")
        if self.tokens_per_pass < 0:
            raise SettingError(f"--tokens_per_pass {self.tokens_per_pass}: give a number of tokens, or 0 for no limit")
        if not 0 <= self.least_blame <= 1:
            raise SettingError(f"--least_blame {self.least_blame} is not between 0 and 1")


@dataclass(kw_only=True)
class VlmTrainerOptions(TrainerOptions):
    """The same for the vlm-r1 backend, with flags that TRL has in its own config."""

    loss_type: str = field(default="grpo", metadata={"help": f"How token losses are added up: {', '.join(LOSSES)}."})
    scale_rewards: str = field(
        default="group", metadata={"help": "Advantages are divided by the standard deviation of: group, batch, none."}
    )
    mask_truncated_completions: bool = field(
        default=False, metadata={"help": "Completions cut off at --max_completion_length add nothing to the loss."}
    )
    vllm_mode: str = field(
        default="colocate", metadata={"help": "Where --use_vllm true has its engine: colocate (each rank), server."}
    )
    vllm_server_base_url: str | None = field(
        default=None, metadata={"help": "Address of that server; by default http://0.0.0.0:8000."}
    )
    vllm_server_timeout: float = field(
        default=240.0, metadata={"help": "Seconds that the server may take to be there at the start."}
    )
    vllm_group_port: int = field(
        default=51216, metadata={"help": "Port through which the server gets new weights (NCCL)."}
    )

    def __post_init__(self) -> None:
        self.check()
        one_of("vllm_mode", self.vllm_mode, VLLM_MODES)
        one_of("loss_type", self.loss_type, LOSSES)
        one_of("scale_rewards", self.scale_rewards, SCALES)


@dataclass(kw_only=True)
class JudgeArguments:
    """How the rewards of method `llm` are asked for. Limits are for the whole run and shared among its ranks. Address
    and key come from the environment only: flags show in process lists."""

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


@dataclass
class DataArguments(RowArguments):
    """What to train on, and how it is shown to the model: VLM-R1's script has these flags, TRL's trainer has not."""

    data_file_paths: str = field(default="", metadata={"help": "Data files (JSONL), separated by ':'."})
    image_folders: str = field(default="", metadata={"help": "The files' image folders, separated by ':'."})
    arrow_cache_dir: str | None = field(default=None, metadata={"help": "Where Arrow files of the data are kept."})
    val_split_ratio: float = field(default=0.0, metadata={"help": "Share of rows held out for evaluation."})
    reward_funcs: list[str] = field(
        default_factory=lambda: ["accuracy", "format"],
        metadata={"help": "Reward functions by name (overlay.rewards.REWARDS), or a reward model's path."},
    )
    reward_method: str | None = field(
        default=None, metadata={"help": "Method of the accuracy reward for each data file, separated by ':'."}
    )
    task_type: str | None = field(default=None, metadata={"help": "Prompt template: gui, or none for the rows' text."})
    images_first: bool = field(
        default=False, metadata={"help": "VLM-R1's layout: images before the text instead of at their <image> marks."}
    )
    max_pixels: int = field(default=12845056, metadata={"help": "Largest number of pixels of an image."})
    min_pixels: int = field(default=3136, metadata={"help": "Smallest number of pixels of an image."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.val_split_ratio < 1:
            raise SettingError(f"--val_split_ratio {self.val_split_ratio} is not in [0, 1)")
        if self.task_type not in (None, "gui"):
            raise SettingError(f"--task_type {self.task_type!r} is unknown here; use gui, or leave it out")
        if self.min_pixels > self.max_pixels:
            raise SettingError(f"--min_pixels {self.min_pixels} is larger than --max_pixels {self.max_pixels}")
