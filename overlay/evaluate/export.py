"""A folder that vLLM, transformers and the hub take, from a run: weights, processor, prompt style, model card.

    python -m overlay.evaluate.export RUN OUT [--dtype bfloat16] [--scores runs/eval]      (make export RUN= OUT=)

RUN is an output folder or a checkpoint, of all weights or of an adapter, which is merged. Weights are safetensors in
the dtype that RUN has, unless --dtype names another. `--scores` are OUT folders of `make eval`; scores of other weights
than these are refused. The folder is whole or not there.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from overlay.checks import writable_folder
from overlay.errors import Arguments, SettingError, command
from overlay.evaluate.identity import weights_digest
from overlay.model.adapter import merge
from overlay.prompt.style_file import STYLE_FILE, read_style, write_style
from overlay.serve.server import check_model, read_object
from overlay.training.card import CARD, card, facts_of

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
SHARD = "4GB"
METRICS = "metrics.json"


def model_of(run: Path, base: str | None = None) -> Any:
    """The model of a run's folder, an adapter merged into its base. SettingError where there is none."""
    if (run / "adapter_config.json").is_file():
        return merge(run, base)
    if not (run / "config.json").is_file():
        raise SettingError(
            f"{run}: no model there (config.json or adapter_config.json is missing): is it a run's folder?"
        )
    return AutoModelForImageTextToText.from_pretrained(run, dtype="auto", trust_remote_code=False)


def check_whole(model: Any, run: Path) -> None:
    """SettingError for weights that are no numbers."""
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise SettingError(f"{run}: {name} holds what is no number: export an earlier checkpoint")


def scores_of(folders: list[Path], digests: set[str]) -> list[dict[str, Any]]:
    """Contents of metrics.json of scores of weights with these digests. SettingError for those of others."""
    found = []
    for folder in folders:
        if not (folder / METRICS).is_file():
            raise SettingError(f"--scores {folder}: no {METRICS} there; it is the OUT of make eval")
        score = read_object(folder / METRICS)
        scored = score.get("about", {}).get("weights")
        if scored not in digests:
            raise SettingError(f"--scores {folder}: of weights {scored}, this run has {' or '.join(sorted(digests))}")
        found.append(score)
    return found


def export(run: Path, out: Path, dtype: str | None, scores: list[Path], base: str | None = None) -> None:
    """Write `out`. Raises SettingError, and leaves nothing then."""
    if out.exists():
        raise SettingError(f"{out} is there already; choose another OUT")
    if not run.is_dir():
        raise SettingError(f"{run}: no such folder (RUN=)")
    style = read_style(run)
    if style is None:
        raise SettingError(f"{run}: no {STYLE_FILE}, so nobody would know how to ask it: export a run of this project")
    writable_folder(out.absolute().parent)
    model, aside = model_of(run, base), out.with_name(out.name + ".tmp")
    check_whole(model, run)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        (model.to(DTYPES[dtype]) if dtype else model).save_pretrained(aside, max_shard_size=SHARD)
        AutoProcessor.from_pretrained(run, trust_remote_code=False).save_pretrained(aside)
        write_style(style, aside)
        check_model(aside)
        taken = scores_of(scores, {weights_digest(aside), weights_digest(run)})
        facts = replace(facts_of(run), name=out.name, adapter={}, config=read_object(aside / "config.json"))
        text = card(facts, taken)
        (aside / CARD).write_text(text, encoding="utf-8", errors="replace")
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@command("export", OSError, ValueError, UnpicklingError)
def main(argv: list[str] | None = None) -> int:
    """Export what the command line names, and say what is in it."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path, help="output folder of a run, or a checkpoint")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--dtype", choices=DTYPES, help="of the weights; by default as they are")
    parser.add_argument("--base", help="base model of an adapter, where it is not the one that it names")
    parser.add_argument("--scores", type=Path, nargs="*", default=[], help="OUT folders of make eval, for the card")
    args = parser.parse_args(argv)
    export(args.run, args.out, args.dtype, args.scores, args.base)
    size = sum(file.stat().st_size for file in args.out.iterdir())
    dtype = json.loads((args.out / "config.json").read_text(encoding="utf-8")).get("dtype")
    print(f"{args.out}: {size / 1e9:.2f} GB, {dtype}; make serve MODEL={args.out}, or hf upload <name> {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
