"""Both trainers and a loop written by hand make the same weights of the same completions.

python -m pytest tests/backends/test_same_loss.py -s      prints the differences
"""

import copy
import os
from itertools import count

import pytest
import torch
from transformers import AutoModelForImageTextToText
from trl import TrlParser

from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train
from overlay.rewards import REWARDS
from tests.stock import ROOT, stock_command

pytestmark = pytest.mark.integration
STEPS, RATE, BETA, TEMPERATURE, CLIP, ROWS = 4, 1e-3, 0.2, 0.7, 0.2, 8
EPSILON = 1e-5  # of Adam: with its usual 1e-8 the last bit of a gradient near zero decides a whole step
SETTINGS = {
    "per_device_train_batch_size": 4, "num_generations": 2, "gradient_accumulation_steps": 2, "num_iterations": 2,
    "beta": BETA, "temperature": TEMPERATURE, "max_steps": STEPS, "learning_rate": RATE, "seed": 3,
    "lr_scheduler_type": "constant", "save_strategy": "no", "max_completion_length": 8, "adam_epsilon": EPSILON,
}  # fmt: skip


def letters(completions, **columns):
    return [sum(map(ord, completion[0]["content"])) % 97 / 97 for completion in completions]


def scripted(end):
    """A `generate` whose completions follow from the prompt and the copy's number, of different lengths."""

    def generate(self, input_ids, attention_mask, **inputs):
        seen, rows = {}, []
        for ids, mask in zip(input_ids, attention_mask, strict=True):
            key = int((ids * mask).sum())
            copy_number = seen[key] = seen.get(key, -1) + 1
            length = 3 + (key + copy_number) % 4
            body = [(key * 7 + copy_number * 13 + n * 5) % 200 + 20 for n in range(length)]
            rows.append(torch.tensor([*body, end] + [end] * (7 - length)))
        return torch.cat([input_ids, torch.stack(rows)], 1)

    return generate


@pytest.fixture
def base(tiny_model_dir, monkeypatch):
    """The tiny model before any step; its class generates what is scripted."""
    monkeypatch.setitem(REWARDS, "letters", letters)
    model = AutoModelForImageTextToText.from_pretrained(tiny_model_dir)
    monkeypatch.setattr(type(model), "generate", scripted(end_of(model)))
    return model


def by_hand(base, batches):
    """Weights after STEPS steps of AdamW on `batches`, the micro-batches of each generation, of all ranks."""
    model, reference = copy.deepcopy(base).train(), copy.deepcopy(base).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, eps=EPSILON, weight_decay=0.0)

    def log_probs(of, batch):
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        logits = of(input_ids=ids, attention_mask=mask, **batch["multimodal_inputs"]).logits
        length = batch["completion_ids"].size(1)
        spread = (logits[:, -length - 1 : -1] / TEMPERATURE).log_softmax(-1)
        return spread.gather(2, batch["completion_ids"][..., None])[..., 0]

    for generation in batches:
        with torch.no_grad():
            old = [log_probs(model, batch) for batch in generation]
            fixed = [log_probs(reference, batch) for batch in generation]
        for _ in range(SETTINGS["num_iterations"]):
            for batch, before, anchor in zip(generation, old, fixed, strict=True):
                now, advantage, mask = log_probs(model, batch), batch["advantages"][:, None], batch["completion_mask"]
                ratio, apart = (now - before).exp(), anchor - now
                gain = torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
                token = BETA * (apart.exp() - apart - 1) - gain
                ((token * mask).sum(1) / mask.sum(1)).mean().div(len(generation)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return model.state_dict()


def apart(first, second):
    return max((tensor - second[name]).abs().max().item() for name, tensor in first.items())


def test_three_ways_to_the_same_weights(base, flags, vlm_r1_trainer):
    theirs = vlm_r1_trainer([letters], {"loss_type": "grpo"}, ROWS, **SETTINGS)
    batches, generate = [], theirs._generate_and_score_completions

    def remember(*args):
        batches.append(generate(*args))
        return batches[-1]

    theirs._generate_and_score_completions = remember
    theirs.train()
    lengths = {int(n) for batch in batches for n in batch["completion_mask"].sum(1)}
    assert len(lengths) > 2
    assert len(batches) == STEPS  # two generations, each of two micro-batches
    hand = by_hand(base, [batches[:2], batches[2:]])
    ours = train(*TrlParser(ARGUMENTS).parse_args_and_config(args=flags(
        reward_funcs="letters", loss_type="grpo", data_file_paths=first_rows(flags, ROWS), **SETTINGS,
    )))  # fmt: skip
    moved = apart(base.state_dict(), hand)
    vlm_r1, trl = apart(hand, theirs.model.state_dict()), apart(hand, ours.model.state_dict())
    print(f"\nafter {STEPS} steps weights moved by up to {moved:.1e}; against the loop by hand: VLM-R1 {vlm_r1:.1e}, "
          f"TRL {trl:.1e}")  # fmt: skip
    assert moved > 1e-3
    assert vlm_r1 < 1e-6
    assert trl < 1e-6


@pytest.mark.slow
def test_three_ways_on_two_ranks(base, flags, upstream, tiny_model_dir, reward_model, forks, tmp_path):
    """The same through both command lines, with ranks that are forked: what they generate is scripted there, and each
    rank of VLM-R1 keeps its batches for the loop by hand."""
    (tmp_path / "scripted").mkdir()
    (tmp_path / "scripted" / "sitecustomize.py").write_text(
        "from tests.backends import test_same_loss as t; t.script()"
    )
    settings = SETTINGS | {"reward_funcs": reward_model, "loss_type": "grpo", "data_file_paths": first_rows(flags, 16)}
    ended = forks.run(
        ["-m", "overlay.backends.trl.train", *flags(**settings, output_dir=tmp_path / "trl", min_pixels=784)],
        tmp_path / "trl.log", 2,
        variables={"PYTHONPATH": f"{tmp_path}/scripted:{ROOT}", "END": str(end_of(base))},
    )  # fmt: skip
    assert ended.statuses == [0, 0], ended.err[-3000:]
    own = {name: value for name, value in settings.items() if name != "data_file_paths"}
    command, variables = stock_command(
        upstream, tiny_model_dir, settings["data_file_paths"], tmp_path / "vlm-r1", **own
    )
    variables |= {"PYTHONPATH": f"{tmp_path}/scripted:{variables['PYTHONPATH']}", "END": str(end_of(base))}
    ended = forks.run(
        command, tmp_path / "vlm.log", 2, folder=upstream, variables=variables | {"BATCHES": str(tmp_path)}
    )
    assert ended.statuses == [0, 0], ended.err[-3000:]
    files = sorted(tmp_path.glob("batch*.pt"))
    assert len(files) == 2 * STEPS  # of two ranks: two generations, each of two micro-batches
    kept = {file.stem: torch.load(file, weights_only=True) for file in files}
    assert len({int(n) for batch in kept.values() for n in batch["completion_mask"].sum(1)}) > 2
    hand = by_hand(base, [[kept[f"batch{n}-{rank}"] for n in pair for rank in (0, 1)] for pair in ((0, 1), (2, 3))])
    moved = apart(base.state_dict(), hand)
    found = {name: type(base).from_pretrained(tmp_path / name).state_dict() for name in ("vlm-r1", "trl")}
    differences = {name: apart(hand, weights) for name, weights in found.items()}
    print(f"\ntwo ranks, {STEPS} steps, weights moved by up to {moved:.1e}; against the loop by hand: {differences}")
    assert moved > 1e-3
    # 3.4e-6 on one CPU where another has 2e-7: sums of ranks in another order, and Adam divides by a gradient's size.
    assert max(differences.values()) < 1e-5


def end_of(model):
    return model.config.get_text_config().eos_token_id


def script():
    """In a rank, before anything else: generate what is scripted, and keep VLM-R1's batches where BATCHES says."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    from overlay.training.trainer import GuiTrainer

    Qwen2_5_VLForConditionalGeneration.generate = scripted(int(os.environ["END"]))
    if "BATCHES" not in os.environ:
        return
    generate, made = GuiTrainer._generate_and_score_completions, count()

    def remember(self, *args):
        result = generate(self, *args)
        file = f"batch{next(made)}-{os.environ['RANK']}.pt"
        torch.save(result, os.path.join(os.environ["BATCHES"], file))
        return result

    GuiTrainer._generate_and_score_completions = remember


def first_rows(flags, count):
    """The first rows of the demo's, as a file of their own."""
    line = flags()
    file = line[line.index("--data_file_paths") + 1]
    out = line[line.index("--output_dir") + 1] + "-rows.jsonl"
    with open(file, encoding="utf-8") as rows, open(out, "w", encoding="utf-8") as kept:
        kept.writelines(rows.readlines()[:count])
    return out
