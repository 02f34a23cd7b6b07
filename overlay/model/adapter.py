"""Merge a LoRA adapter into its base model: a folder that every server loads.

    python -m overlay.model.adapter ADAPTER OUT [--base MODEL]      (make merge ADAPTER= OUT=)

ADAPTER is a checkpoint or output folder of a run with --use_peft. An adapter on an output layer that is tied to the
input embedding unties the two, since only one of them was trained.
"""

import sys
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor

from overlay.errors import Arguments, SettingError, command
from overlay.model.vision import VISION
from overlay.prompt.style_file import read_style, write_style


def without_adapter(model: Any) -> dict[str, int]:
    """{name: parameters} of what an adapter on linear layers does not reach: experts, which are one tensor in a layer.
    The names are those that `--lora_target_parameters` takes; empty for a model without an adapter."""
    found: dict[str, int] = {}
    if isinstance(model, PeftModel):
        for name, parameter in model.named_parameters():
            parts, shape = name.split("."), getattr(parameter, "ds_shape", parameter.shape)  # ZeRO-3's is cut up
            if len(shape) == 3 and not {VISION, "base_layer", "weight"} & set(parts):
                key = ".".join(parts[-2:])
                found[key] = found.get(key, 0) + shape.numel()
    return found


def merge(adapter: Path, base: str | None = None) -> Any:
    """The merged model, in the base's dtype. Raises OSError or ValueError when either cannot be read."""
    base = base or PeftConfig.from_pretrained(str(adapter)).base_model_name_or_path
    if not base:
        raise SettingError(f"{adapter} names no base model; give it with --base")
    model = AutoModelForImageTextToText.from_pretrained(base, dtype="auto", trust_remote_code=False)
    adapted = PeftModel.from_pretrained(model, adapter)
    head = getattr(model.get_output_embeddings(), "base_layer", None)
    if head is not None and head.weight is model.get_input_embeddings().weight:
        head.weight = torch.nn.Parameter(head.weight.clone())
        for config in (model.config, model.config.get_text_config()):
            config.tie_word_embeddings = False
    return adapted.merge_and_unload()


@command("merge", OSError, ValueError, UnpicklingError)
def main(argv: list[str] | None = None) -> int:
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("adapter", type=Path, help="folder with adapter_model.safetensors")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--base", help="base model, where it is not the one that the adapter names")
    args = parser.parse_args(argv)
    if not (args.adapter / "adapter_config.json").is_file():
        raise SettingError(f"{args.adapter}: no adapter_config.json, so no adapter to merge")
    if args.out.exists():
        raise SettingError(f"{args.out} is there already; choose another folder")
    aside = args.out.with_name(args.out.name + ".tmp")
    merge(args.adapter, args.base).save_pretrained(aside)
    AutoProcessor.from_pretrained(args.adapter, trust_remote_code=False).save_pretrained(aside)
    style = read_style(args.adapter)
    if style is not None:
        write_style(style, aside)
    aside.rename(args.out)
    print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
