"""What is compared: for each study its recipes, and how their models are judged. All start from the demo's model."""

from dataclasses import dataclass, field

from overlay.action.clicks import CLICKS
from overlay.demo.flags import Flags
from overlay.live.phone.kinds import TRAINED_KINDS

# Kinds of pages that the demo's model can read, but live training leaves out.
LEFT_OUT = ("chats", "dialog", "toolbar", "menu", "calendar")
PLAYED = tuple(kind for kind in TRAINED_KINDS if kind not in LEFT_OUT)

LIVE: Flags = {
    "episodes": "live", "live_pages": "phone", "live_tasks": ":".join(PLAYED), "episode_steps": 3,
    "per_device_train_batch_size": 96, "reward_funcs": ("page", "format_scaled"),
}  # fmt: skip
SEMI_ONLINE: Flags = {"episodes": "semi-online", "episode_steps": 3, "per_device_train_batch_size": 72}
RIGHT: Flags = {"max_steps": 30, "per_device_train_batch_size": 16, "learning_rate": 5e-4}


@dataclass(frozen=True)
class Recipe:
    """A way to train. `name`: of its runs, which studies share; `shown`: as the study calls it. `flags`: of GRPO, after
    the demo's; None: none. `warm`: flags of supervised training on the same rows before it; None: none; `loose`: with
    boxes as drawn by hand. `sampled`: rows have the column `difficulty`, of the start's own samples."""

    name: str
    shown: str
    flags: Flags | None = field(default_factory=dict)
    warm: Flags | None = None
    loose: bool = False
    sampled: bool = False


@dataclass(frozen=True)
class Study:
    """`judge`: `rows`, greedy answers on the held-out steps, or `play`, episodes in a browser. `steps`: of GRPO;
    `sizes`: show how large boxes are."""

    judge: str
    steps: int
    recipes: tuple[Recipe, ...]
    sizes: bool = False


DEMO = "GRPO"  # the demo's own

STUDIES = {
    "live": Study("play", 80, (Recipe("live", "live", LIVE),)),
    "episodes": Study("play", 60, (Recipe(DEMO, "step-wise"), Recipe("semi-online", "semi-online", SEMI_ONLINE))),
    "clicks": Study(
        "rows",
        60,
        (
            Recipe("loose", "loose SFT", None, RIGHT, loose=True),
            *(Recipe(name, name, {"click_reward": name}, RIGHT, loose=True) for name in CLICKS),
        ),
        sizes=True,
    ),
    "warm-start": Study(
        "rows",
        60,
        (Recipe(DEMO, "GRPO"), Recipe("SFT", "SFT", None, RIGHT), Recipe("SFT-GRPO", "SFT, GRPO", {}, RIGHT)),
    ),
    "difficulty": Study(
        "rows", 60, (Recipe(DEMO, "all rows"), Recipe("between", "0.1 to 0.9", {"difficulty": "0.1:0.9"}, sampled=True))
    ),
}
