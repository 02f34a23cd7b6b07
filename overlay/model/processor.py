"""The model's processor with the run's pixel limits, the same in training, scoring and serving.

    python -m overlay.model.processor MODEL OUT --max_pixels 1003520

writes a folder with the model's files (linked) and the processor with these limits, for programs that read them from
there, such as vLLM.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoProcessor, ProcessorMixin

from overlay.action.space import LEAST_PIXELS
from overlay.checks import at_least
from overlay.errors import Arguments, SettingError, command
from overlay.prompt.opened import unopened
from overlay.prompt.style_file import STYLE_FILE, read_style, write_style


def load_processor(
    model: str,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    trusted: bool = False,
    own_template: bool = False,
) -> ProcessorMixin:
    """Processor of a model folder or hub name, padding on the left.

    The limits, in pixels of an image, replace the model's own where given; they are saved with the processor, so a
    checkpoint carries them. Python that comes with the model runs when it is `trusted`. Its chat template leaves
    the think part to the model (`leave_thinking`), or is the `own_template`. Raises OSError or ValueError when there is
    no such model.
    """
    processor = AutoProcessor.from_pretrained(model, padding_side="left", trust_remote_code=trusted)
    limit_pixels(processor, min_pixels, max_pixels)
    if not own_template:
        leave_thinking(processor)
    return processor


def leave_thinking(processor: Any) -> None:
    """Let prompts end where the model begins to write. Templates of thinking variants (Qwen3-VL-Thinking, Qwen3.5) end
    them with an opened `<think>`; the completion would lack it, and read as one without a think part. Saved with the
    processor, so a checkpoint is served so. Calling it twice is harmless."""
    template = getattr(processor, "chat_template", None)
    if isinstance(template, str):
        processor.chat_template = unopened(template)


def training_processor(model: str, min_pixels: int, max_pixels: int, trusted: bool = False) -> ProcessorMixin:
    """The same for a training's flags. SettingError when there is no such model, or it cannot make prompts."""
    try:
        processor = load_processor(model, min_pixels, max_pixels, trusted)
    except (OSError, ValueError, RecursionError) as error:
        raise SettingError(
            f"--model_name_or_path {model}: {(str(error).strip() or 'no processor').splitlines()[0]}"
        ) from error
    missing = [
        what
        for what, there in (
            ("image processor", getattr(processor, "image_processor", None)),
            ("chat template", getattr(processor, "chat_template", None)),
            ("padding token", getattr(getattr(processor, "tokenizer", processor), "pad_token", None)),
        )
        if not there
    ]
    if missing:
        raise SettingError(f"--model_name_or_path {model}: its processor has no {', no '.join(missing)}")
    check_grids(model, processor)
    return processor


def check_grids(model: str, processor: Any) -> None:
    """SettingError for a processor that does not make patches in a grid (`image_grid_thw`) of an image, between two
    limits of its pixels: token counts and packed rows stand on these."""
    images = processor.image_processor
    if "longest_edge" not in (getattr(images, "size", None) or {}) or not hasattr(images, "merge_size"):
        raise SettingError(
            f"--model_name_or_path {model}: {type(images).__name__} cuts images into tiles; only models whose images "
            "are patches in a grid (image_grid_thw), as Qwen-VL's and GLM-4V's, are trained here"
        )


def limit_pixels(processor: ProcessorMixin, min_pixels: int | None, max_pixels: int | None) -> None:
    """Set a processor's pixel limits where given (`min_pixels` and `max_pixels` on it are on their way out).

    Processors before transformers 5 know no other way, and are left alone.
    """
    own = getattr(getattr(processor, "image_processor", None), "size", {})
    if "longest_edge" not in own:
        return
    processor.image_processor.size = type(own)(
        shortest_edge=min_pixels or own["shortest_edge"], longest_edge=max_pixels or own["longest_edge"]
    )


def write_limited(model: Path, out: Path, min_pixels: int | None, max_pixels: int | None) -> None:
    """Folder `out` with links to the files of `model`, a folder, and its processor with the limits."""
    processor = load_processor(str(model), min_pixels, max_pixels)
    out.mkdir(parents=True)
    for file in model.iterdir():
        if file.is_file():
            (out / file.name).symlink_to(file.resolve())
    for name in ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"):
        (out / name).unlink(missing_ok=True)
    processor.save_pretrained(out / ".processor")
    for file in (out / ".processor").iterdir():
        file.replace(out / file.name)
    (out / ".processor").rmdir()
    style = read_style(model)
    if style is not None:
        size = processor.image_processor.size
        space = replace(style.space, min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"])
        (out / STYLE_FILE).unlink()
        write_style(replace(style, space=space), out)


@command("overlay.model.processor", OSError, ValueError)
def main(argv: list[str] | None = None) -> int:
    """Command line; a folder that is not there, or is there already, gives one line and status 2."""
    parser = Arguments(description="A model folder whose processor has other pixel limits.")
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--min_pixels", type=int)
    parser.add_argument("--max_pixels", type=int)
    args = parser.parse_args(argv)
    at_least(args, min_pixels=1, max_pixels=LEAST_PIXELS)
    if not (args.model / "config.json").is_file():
        raise SettingError(f"{args.model}: no model folder (config.json is missing)")
    if args.out.exists():
        raise SettingError(f"{args.out} is there already; choose another folder")
    write_limited(args.model, args.out, args.min_pixels, args.max_pixels)
    return 0


if __name__ == "__main__":
    sys.exit(main())
