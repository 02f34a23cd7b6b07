"""The arithmetic of a step, held to what models, adapters and autograd really take."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from benchmarks import gpu_check
from overlay.backends.trl.train import ALL
from overlay.errors import SettingError
from overlay.model.cost import Cluster, Step, layer_bytes, measured_cluster, memory, step_seconds
from overlay.model.sizes import Sizes, sizes_of
from overlay.model.vision import VISION
from tests import families


def test_parameters_are_counted_without_making_them(tiny_model_dir):
    model = AutoModelForImageTextToText.from_pretrained(tiny_model_dir)
    sizes = sizes_of(str(tiny_model_dir))
    assert sizes.total == sizes.active == sum(p.numel() for p in model.parameters())
    tower = sum(p.numel() for name, p in model.named_parameters() if VISION in name.split("."))
    assert sizes.trainable(frozen_vision=True) == sizes.total - tower
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=ALL, exclude_modules=rf"(.*\.)?{VISION}\..*"))
    assert sizes.trainable(True, lora_r=4) == adapted.get_nb_trainable_parameters()[0]


@pytest.mark.parametrize("family", families.PARTS)
def test_sizes_of_each_family(family, tmp_path):
    """An adapter's parameters are PEFT's; a token passes two of four experts, and the one that all share; prompts are
    shared where training shares them."""
    folder = families.write(family, tmp_path / "model", ["a word"])
    sizes, model = sizes_of(str(folder)), AutoModelForImageTextToText.from_pretrained(folder)
    experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    assert bool(experts) == ("moe" in family)
    assert (sizes.total, sizes.active) == (model.num_parameters(), model.num_parameters() - experts // 2)
    assert sizes.intermediate == {"qwen3_vl_moe": 2 * 16, "qwen3_5_moe": 2 * 16 + 16}.get(family, 48)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=ALL, exclude_modules=rf"(.*\.)?{VISION}\..*"))
    assert sizes.trainable(True, lora_r=4) == adapted.get_nb_trainable_parameters()[0]
    assert sizes.packs == (family in families.FAMILIES)


@pytest.mark.parametrize(("hidden", "inner", "kv"), [(128, 512, 2), (256, 512, 1)])
def test_a_layer_keeps_what_autograd_keeps(hidden, inner, kv):
    """The difference of a model with two layers and one with one, in bytes of tensors that backward needs."""
    tokens = 64

    def kept(layers):
        text = {
            "vocab_size": 64, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": 4, "num_key_value_heads": kv,
            "rope_parameters": {"rope_type": "default", "mrope_section": [hidden // 32] * 2 + [hidden // 16],
                                "rope_theta": 1e4},
        }  # fmt: skip
        vision = {
            "depth": 1, "hidden_size": 16, "intermediate_size": 24, "out_hidden_size": hidden, "num_heads": 2,
            "fullatt_block_indexes": [0],
        }  # fmt: skip
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)).bfloat16()
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        found, alive = {}, []

        def pack(tensor):
            alive.append(tensor)  # so that no address is used twice
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                found[storage.data_ptr()] = storage.nbytes()
            return tensor

        states = torch.zeros(1, tokens, hidden, dtype=torch.bfloat16, requires_grad=True)
        places = torch.arange(tokens).expand(3, 1, tokens)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.model.language_model(inputs_embeds=states, position_ids=places, use_cache=False)
        return sum(found.values())

    sizes = Sizes(0, 0, 0, 0, hidden=hidden, layers=2, kv=hidden // 4 * kv, intermediate=inner, vocabulary=64)
    assert (kept(2) - kept(1)) / tokens == pytest.approx(layer_bytes(sizes), rel=0.02)


def step(**changed):
    """7B with a frozen tower on eight GPUs."""
    values = {"nodes": 1, "gpus": 8, "batch": 8, "generations": 8, "prompt": 4096, "completion": 512}
    weights = {"total": 8_300_000_000, "active": 8_300_000_000, "trainable": 7_620_000_000}
    return Step(**values | weights | changed)


SEVEN = Sizes(8_300_000_000, 680_000_000, 8_300_000_000, 2_500_000, 3584, 28, 512, 18_944, 152_064)


def test_what_stays_is_cut_up_over_the_processes():
    parts = [memory(step(nodes=nodes), SEVEN, False, 4096, 512) for nodes in (1, 5)]
    for name in ("weights", "reference", "gradients", "optimizer"):
        assert parts[0][name] == pytest.approx(5 * parts[1][name])
    assert parts[0]["optimizer"] == 12 * 7_620_000_000 / 8
    assert parts[0]["gathered weights"] == 2 * 8_300_000_000  # whole while it generates
    plain = memory(step(zero=False), SEVEN, False, 4096, 512)
    assert plain["weights"] == 4 * 8_300_000_000
    assert memory(step(reference=False), SEVEN, False, 4096, 512)["reference"] == 0
    assert memory(step(), SEVEN, True, 4096, 512)["reference"] == 0  # an adapter's reference is the base model


@pytest.mark.parametrize(
    ("change", "phase"),
    [
        ({"batch": 16}, "training pass"), ({"prompt": 8192}, "training pass"), ({"shared": False}, "training pass"),
        ({"checkpointing": True}, "training pass"), ({"nodes": 5}, "communication"), ({"judged": True}, "judge"),
        ({"old": True}, "old pass"), ({"completion": 1024}, "generation"),
    ],
)  # fmt: skip
def test_more_takes_longer(change, phase):
    before, after = (step_seconds(step(checkpointing=False, **own), Cluster()) if "checkpointing" not in own
                     else step_seconds(step(**own), Cluster()) for own in ({}, change))  # fmt: skip
    assert after[phase] > before[phase]


def test_speeds_of_a_gpu_check_are_taken(tmp_path):
    """A check that was made with some speeds gives these speeds."""
    known = Cluster(flops=4e14, used=1.0, memory=1e12, memory_used=1.0)
    weights, prompt, group, completion = 3_750_000_000, 3000, 8, 150
    tokens = prompt + group * completion
    check = {
        "parameters": weights, "shapes": {"group": group, "completion": completion},
        "forward and backward": {"packed, features kept": {"tokens": tokens, "seconds": 8 * weights * tokens / 4e14}},
        "generation": {"prefilled once": {"seconds": 2 * weights * prompt / 4e14 + completion * 2 * weights / 1e12}},
    }  # fmt: skip
    found = measured_cluster(check, Cluster())
    assert (found.dense, found.decoding) == (pytest.approx(known.dense), pytest.approx(known.decoding))
    assert found.network == Cluster().network
    with pytest.raises(SettingError, match="does not say 'parameters'"):
        measured_cluster({name: value for name, value in check.items() if name != "parameters"}, Cluster())
    assert gpu_check.main(["--tiny", "--out", str(tmp_path)]) == 0
    measured_cluster(json.loads((tmp_path / "gpu-check.json").read_text()), Cluster())
