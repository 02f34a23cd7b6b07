"""What a model's folder (or hub name) says before anything of it is loaded: its type, and whether it can be trained.

Nothing of a folder runs here. Whether Python that it brings along may run later is the user's to say
(`--trust_remote_code true`).
"""

from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, dynamic_module_utils
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.utils import is_flash_attn_2_available

from overlay.errors import SettingError

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
FLAG = "--model_name_or_path"


def config_of(model: str) -> dict[str, Any]:
    """A model's config.json as it stands there. SettingError when there is none, or an adapter's only."""
    folder = Path(model)
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise SettingError(
            f"{FLAG} {model} is a LoRA adapter: make merge ADAPTER={model} OUT=<folder>, then train that"
        )
    if model.startswith(("/", ".", "~")) and not folder.is_dir():  # no hub's name
        raise SettingError(f"{FLAG} {model}: no such folder")
    try:
        config, _ = PretrainedConfig.get_config_dict(model)
    except (OSError, ValueError, RecursionError) as error:
        said = (str(error) or "no config").splitlines()[0]
        nowhere = "" if folder.is_dir() or model.startswith("/") else "no such folder, nor a model of the hub: "
        raise SettingError(f"{FLAG} {model}: {nowhere}{said}") from error
    if not config.get("model_type"):
        raise SettingError(f"{FLAG} {model}: no model (config.json with a model_type is missing)")
    return config


def check_attention(name: str | None) -> None:
    """SettingError for an attention implementation whose package is not installed."""
    if name and name.startswith("flash_attention") and not is_flash_attn_2_available():
        raise SettingError(f"--attn_implementation {name}: flash-attn is not installed: take sdpa (ATTENTION=sdpa)")


def check_model(model: str, trusted: bool, own_code: bool = False) -> None:
    """SettingError for what is no model, a folder without weights, or a model that runs Python of its own (`own_code`:
    its module here always asks for that, InternVL's) unless it is trusted. From here on nobody is asked on a terminal
    either."""
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    config, folder = config_of(model), Path(model)
    if folder.is_dir() and not any(any(folder.glob(pattern)) for pattern in WEIGHTS):
        raise SettingError(f"{FLAG} {model}: no weights ({' or '.join(WEIGHTS)})")
    if own_code and "auto_map" not in config:
        raise SettingError(
            f"{FLAG} {model}: VLM-R1 trains InternVL by the Python that comes with a model, and this folder names none "
            "(auto_map in config.json): a checkpoint in transformers' own format is not trained"
        )
    unknown = config["model_type"] not in CONFIG_MAPPING_NAMES and "auto_map" in config
    if (own_code or unknown) and not trusted:
        raise SettingError(
            f"{FLAG} {model}: {config['model_type']} runs Python that comes with the model: read it, then say "
            "--trust_remote_code true"
        )
