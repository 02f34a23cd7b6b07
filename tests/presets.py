"""Model folders with the real shapes of Qwen2.5-VL and nothing but a config: enough for what only counts."""

from transformers import Qwen2_5_VLConfig

TEXT = {
    "3B": {"hidden_size": 2048, "intermediate_size": 11_008, "num_hidden_layers": 36, "num_attention_heads": 16,
           "num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": True},
    "7B": {"hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152_064, "tie_word_embeddings": False},
}  # fmt: skip


def config_folder(name, parent):
    """Folder of Qwen2.5-VL's 3B or 7B below `parent`."""
    text = TEXT[name]
    rope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1_000_000.0}
    vision = {
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": text["hidden_size"],
        "num_heads": 16, "fullatt_block_indexes": [7, 15, 23, 31], "window_size": 112,
    }  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config=text | {"rope_parameters": rope}, vision_config=vision,
        tie_word_embeddings=text["tie_word_embeddings"],
    )  # fmt: skip
    folder = parent / name
    config.save_pretrained(folder)
    return folder
