"""One live episode of two models beside each other, as an animated picture with what each touched.

    python -m overlay.demo.film --before MODEL --after MODEL --out episode.gif

Plays seeds of a kind of page until the first model fails where the second does a task of several steps; English ones,
for Pillow's own letters. The models answer in this process, greedily.
"""

import base64
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from transformers import AutoModelForImageTextToText

from overlay.action.action import BOX_TYPES, as_box, centre, described, parse_action
from overlay.action.completion import ANSWER_TAG
from overlay.data.images import open_image
from overlay.demo.score import MODEL, MOST_TOKENS
from overlay.errors import Arguments, SettingError, command
from overlay.live import chromium
from overlay.live.phone.environment import PAGES
from overlay.live.phone.screen import WIDTH
from overlay.model.folder import check_model
from overlay.model.processor import load_processor
from overlay.pages.drawing import COLOURS
from overlay.play.episode import episode
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import read_style
from overlay.serve.client import Answer

ACROSS, HEAD, FOOT, GAP = 300, 44, 66, 12  # pixels of a frame
TOUCH, TOUCHED = 13, "#e8710a"  # radius and colour of a touched point
SECONDS = 1.6  # a frame is shown
SEEDS = range(200_000, 200_080, 2)  # the even ones are English


class Local:
    """A model folder behind the client's `ask`."""

    def __init__(self, folder: Path):
        self.model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32").eval()
        self.processor: Any = load_processor(str(folder))

    @torch.inference_mode()
    def ask(self, messages: list[dict], paths: list[str]) -> Answer:
        text = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        inputs = self.processor(text=[text], images=[open_image(path) for path in paths], return_tensors="pt")
        output = self.model.generate(**inputs, do_sample=False, max_new_tokens=MOST_TOKENS)
        return Answer(self.processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


def played(models: list[Local], task: str, style: PromptStyle) -> list[dict[str, Any]]:
    """The first episode of several steps that the first model fails and the second does, as each played it."""
    with PAGES.open() as environment, tempfile.TemporaryDirectory(prefix="film-") as folder:
        for seed in SEEDS:
            each = (episode(environment, model, task, seed, style, 1, Path(folder)) for model in models)
            both = [one for one in each if one is not None]
            if [one["success"] for one in both] == [False, True] and len(both[1]["steps"]) > 1:
                return both
    raise SettingError(f"--task {task}: no seed of {len(SEEDS)} that only the second model does")


def frame(
    episodes: list[dict[str, Any]], names: list[str], number: int, answer_format: str = ANSWER_TAG
) -> Image.Image:
    """Step `number` of each episode, its last one when it is over."""
    height = HEAD + ACROSS * 3 // 2 + FOOT
    canvas = Image.new("RGB", (ACROSS * 2 + GAP, height), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    pen.text((4, 2), episodes[0]["instruction"], "black", font)
    for side, (one, name) in enumerate(zip(episodes, names, strict=True)):
        left, over = side * (ACROSS + GAP), number >= len(one["steps"]) - 1
        step = one["steps"][min(number, len(one["steps"]) - 1)]
        shown = Image.open(BytesIO(base64.b64decode(step["screen"].partition(",")[2]))).convert("RGB")
        canvas.paste(shown.resize((ACROSS, ACROSS * 3 // 2)), (left, HEAD))
        action = parse_action(step["completion"], answer_format)
        if action is not None and action.type in BOX_TYPES and action.coordinates:
            x, y = (ACROSS / WIDTH * value for value in centre(as_box(action.coordinates)))
            around = (left + x - TOUCH, HEAD + y - TOUCH, left + x + TOUCH, HEAD + y + TOUCH)
            pen.ellipse(around, outline=TOUCHED, width=5)
        pen.text((left + 4, 22), f"{name}, step {min(number + 1, len(one['steps']))}", "#565c63", font)
        told = f"{step['action']}: {described(step['completion'], action, answer_format)}"
        pen.text((left + 4, height - FOOT + 4), told[:44], "black", font)
        if over:
            verdict, colour = ("done", COLOURS["gold"]) if one["success"] else ("not done", "#b3261e")
            pen.text((left + 4, height - FOOT + 26), f"the page says: {verdict}", colour, font)
    return canvas


@command("film")
def main(argv: list[str] | None = None) -> int:
    """Play and write the picture."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("--before", type=Path, default=MODEL)
    parser.add_argument("--after", type=Path, required=True)
    parser.add_argument("--task", choices=PAGES.tasks, default="apps", help="kind of page")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    chromium.check()
    if args.out.suffix != ".gif" or not args.out.absolute().parent.is_dir():
        raise SettingError(f"--out {args.out}: give a .gif in a folder that is there")
    for folder in (args.before, args.after):
        check_model(str(folder), trusted=False)
    if (style := read_style(args.before)) is None:
        raise SettingError(f"--before {args.before}: no prompt_style.json there")
    both = played([Local(args.before), Local(args.after)], args.task, style)
    count, names = max(len(one["steps"]) for one in both), ["before GRPO", "after"]
    shown = [frame(both, names, number, style.answer_format) for number in [*range(count), count]]
    frames = [one.quantize(128) for one in shown]
    frames[0].save(
        args.out, save_all=True, append_images=frames[1:], duration=int(1000 * SECONDS), loop=0, optimize=True
    )
    print(f"{args.out}: {args.task}, seed {both[0]['seed']}, {args.out.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
