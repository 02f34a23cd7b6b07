"""The processor as training has it: a chat template that opens the think part itself leaves that to the model."""

import pytest

from overlay.model.processor import load_processor
from overlay.serve.agreement import expected

pytestmark = pytest.mark.integration
HEADER = "<|im_start|>assistant\n"
OPENED = HEADER.replace("\n", "\\n") + "<think>\\n"  # as in templates of Qwen3-VL-Thinking and Qwen3.5
MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "Where is the <think> button?"}]}]


@pytest.fixture
def opening(tiny_model_dir, copy_of):
    """The tiny model's folder, whose generation prompt ends with an opened think part."""
    folder = copy_of(tiny_model_dir, "opening")
    file = folder / "chat_template.jinja"
    template = file.read_text(encoding="utf-8")
    file.write_text(template.replace("<|im_start|>assistant\\n", OPENED).replace(HEADER, HEADER + "<think>\n"))
    assert template != file.read_text(encoding="utf-8")
    return folder


def prompt(processor):
    return processor.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)


def test_the_model_opens_its_thinking_itself(opening, tiny_model_dir, tmp_path):
    own = load_processor(str(opening), own_template=True)
    assert prompt(own).endswith(f"{HEADER}<think>\n")
    processor = load_processor(str(opening))
    assert prompt(processor) == prompt(load_processor(str(tiny_model_dir))) == prompt(own).removesuffix("<think>\n")
    plain = [processor.apply_chat_template(MESSAGES, tokenize=False) for processor in (own, processor)]
    assert plain[0] == plain[1]
    # A checkpoint keeps it, for every server; read again it is the same.
    processor.save_pretrained(tmp_path / "saved")
    again = load_processor(str(tmp_path / "saved"))
    assert again.chat_template == processor.chat_template
    assert prompt(again) == prompt(processor)


def test_other_templates_stay_as_they_are(tiny_model_dir):
    own = load_processor(str(tiny_model_dir), own_template=True)
    assert load_processor(str(tiny_model_dir)).chat_template == own.chat_template


def test_a_server_is_held_to_the_folders_own_template(opening, tiny_model_dir):
    """It knows no other."""
    assert expected(opening) > expected(tiny_model_dir)


def test_vlm_r1s_trainer_has_it_too(opening, vlm_r1_trainer):
    trainer = vlm_r1_trainer([lambda completions, **columns: [0.0] * len(completions)], model_dir=opening)
    assert prompt(trainer.processing_class).endswith(HEADER)
