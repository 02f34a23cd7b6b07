"""Generation through vLLM's server: every argument and image that travels, to a stand-in (tests/vllm_standin.py)."""

import pytest
from PIL import Image
from trl import TrlParser

from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train as train_with
from overlay.model.processor import load_processor, write_limited
from tests.vllm_standin import LIMIT, decoded, line, start_standin  # noqa: F401  (a fixture)

pytestmark = pytest.mark.integration


@pytest.fixture
def server(start_standin, tiny_model_dir, tmp_path):  # noqa: F811
    """The stand-in, serving the run's own folder."""
    write_limited(tiny_model_dir, tmp_path / "limited", 3136, LIMIT)
    return start_standin(tmp_path / "limited")


def test_every_argument_and_image_reaches_the_server(server, tiny_model_dir, demo_rows, tmp_path):
    trainer = train_with(*TrlParser(ARGUMENTS).parse_args_and_config(
        args=line(tmp_path / "limited", demo_rows, tmp_path, server)
    ))  # fmt: skip
    processor = trainer.processing_class
    sent, rendered = server.of("/inference/v1/generate"), server.of("/v1/chat/completions/render")
    assert len(sent) == 4  # two prompts in each of two steps, each asked for once with n completions
    image = processor.image_token_id
    for body in sent:
        assert body["model"] == "policy"
        assert {key: body["sampling_params"][key] for key in ("n", "temperature", "top_p", "top_k", "min_p")} == {
            "n": 2, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0.0,
        }  # fmt: skip
        assert body["sampling_params"]["max_tokens"] == 16
        assert body["sampling_params"]["logprobs"] == 0
        # An image token can never be sampled.
        assert body["sampling_params"]["logit_bias"][str(image)] == -100
        # Where the images stand in the prompt is told in the prompt's own tokens.
        places = body["features"]["mm_placeholders"]["image"]
        marked = {i for place in places for i in range(place["offset"], place["offset"] + place["length"])}
        assert marked == {i for i, token in enumerate(body["token_ids"]) if token == image}
    # The screens travel whole, losslessly and in the order of the row.
    by_source = {example["source"]: example["image_path"] for example in trainer.train_dataset}
    shown = [
        [decoded(part["image_url"]["url"]) for part in message["content"]]
        for body in rendered
        for message in body["messages"]
    ]
    originals = {tuple(Image.open(path).convert("RGB").tobytes() for path in paths) for paths in by_source.values()}
    assert shown
    for screens in shown:
        assert tuple(screen.convert("RGB").tobytes() for screen in screens) in originals
    # The weights go to the server before each step's first prompt, under names, and its cache is emptied.
    order = [name for name, _ in server.requests]
    assert order.count("/update_weights") == order.count("/reset_prefix_cache") == 2
    assert order.index("/update_weights") < order.index("/inference/v1/generate")
    assert any("language_model" in name for name in server.of("/update_weights")[0]["names"])
    # What came back was trained on.
    assert trainer.state.global_step == 2


def test_other_pixel_limits_than_the_model_folders_are_refused(server, tiny_model_dir, demo_rows, tmp_path):
    with pytest.raises(ValueError, match=r"this run has 3136 to 9408.*python -m overlay\.model\.processor MODEL OUT"):
        train_with(*TrlParser(ARGUMENTS).parse_args_and_config(args=line(tiny_model_dir, demo_rows, tmp_path, server)))
    assert server.requests == []


def test_a_limited_folder_has_the_model_and_the_limits(tiny_model_dir, tmp_path):
    write_limited(tiny_model_dir, tmp_path / "limited", 3136, LIMIT)
    size = load_processor(str(tmp_path / "limited")).image_processor.size
    assert (size["shortest_edge"], size["longest_edge"]) == (3136, LIMIT)
    assert (tmp_path / "limited" / "model.safetensors").resolve() == tiny_model_dir.resolve() / "model.safetensors"
    assert (
        load_processor(str(tiny_model_dir)).image_processor.size["longest_edge"] != LIMIT
    )  # the original is as it was
