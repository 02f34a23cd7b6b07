"""What is taken for granted of a base model by its family."""

import json
from pathlib import Path

from overlay.action.space import FAMILY_SPACES, ORIGINAL
from overlay.errors import SettingError
from overlay.prompt.style_file import STYLE_FILE, read_style

AUTO = "auto"


def model_type(model: str) -> str:
    """`model_type` of a model folder's config, or of a hub name's. SettingError when there is no such model."""
    file = Path(model) / "config.json"
    try:
        if file.is_file():
            return str(json.loads(file.read_text(encoding="utf-8")).get("model_type", ""))
        from transformers import PretrainedConfig

        return str(PretrainedConfig.get_config_dict(model)[0].get("model_type", ""))
    except (OSError, ValueError) as error:
        raise SettingError(f"--model_name_or_path {model}: {str(error).splitlines()[0]}") from error


def space_of(model: str) -> tuple[str, str]:
    """(name of the coordinate space that a model counts in, why) from how it was trained, else from its family."""
    style = read_style(Path(model)) if Path(model).is_dir() else None
    if style is not None:
        return style.space.name, f"{model}/{STYLE_FILE} says so"
    family = model_type(model)
    if family in FAMILY_SPACES:
        return FAMILY_SPACES[family], f"{family} was trained to count so"
    return ORIGINAL.name, f"nothing is known of {family or 'a model without model_type'}"
