"""`--generate_ahead 1` against the stand-in: which weights sample which batch, what a resume finds, what is refused."""

import json
import shutil
import time

import pytest
from safetensors.torch import load_file
from trl import TrlParser

from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import main, train
from overlay.errors import RunStopped
from overlay.model.processor import write_limited
from overlay.rewards import REWARDS
from tests.backends.test_vllm_faults import hang_up, in_step
from tests.vllm_standin import GENERATE, LIMIT, UPDATE, line, start_standin  # noqa: F401  (a fixture)

pytestmark = pytest.mark.integration
ROWS, STEPS = 5, 5  # two steps of two prompts an epoch


@pytest.fixture
def start(start_standin, tiny_model_dir, mixed_rows, tmp_path):  # noqa: F811
    """Function (name of the run, **flags) → (trainer, stand-in). Rows have two images, one and none."""
    write_limited(tiny_model_dir, tmp_path / "limited", 3136, LIMIT)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(mixed_rows.open(encoding="utf-8").readlines()[:ROWS]), encoding="utf-8")

    def run(name, before=None, **flags):
        server = start_standin(tmp_path / "limited")
        server.before = before or server.before
        own = {
            "max_steps": STEPS, "learning_rate": 1e-3, "generate_ahead": 1, "output_dir": tmp_path / name,
            "logging_steps": 1, "save_strategy": "steps", "save_steps": 1,
        }  # fmt: skip
        given = line(tmp_path / "limited", rows, tmp_path, server, **own | flags)
        return train(*TrlParser(ARGUMENTS).parse_args_and_config(args=given)), server

    return run


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def of_prompts(server):
    """(number of weights announced so far, prompt) of each prompt asked for."""
    weights, found = 0, []
    for path, body in server.requests:
        weights += path == UPDATE
        if path == GENERATE:
            found.append((weights, body["token_ids"]))
        elif path == "/v1/completions":
            found += [(weights, ids) for ids in body["prompt"]]
    return found


def completions(run):
    records = [json.loads(text) for text in (run / "rollouts" / "rank00000.jsonl").open(encoding="utf-8")]
    return [(record["step"], record["source"], record["completion"]) for record in records]


def test_the_next_batch_is_sampled_by_the_weights_before(start):
    usual, ahead = start("usual", generate_ahead=0), start("ahead")
    first, second = (of_prompts(server) for _, server in (usual, ahead))
    assert [weights for weights, _ in first] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [weights for weights, _ in second] == [1, 1, 1, 1, 2, 2, 3, 3, 4, 4]
    # The same rows in the same order, over the ends of two epochs, and none for a step that does not come.
    for begin in range(0, len(first), 2):
        assert sorted(ids for _, ids in second[begin : begin + 2]) == sorted(ids for _, ids in first[begin : begin + 2])
    assert logged(ahead[0], "generate_ahead/used") == [0, 1, 1, 1, 1]
    assert not logged(usual[0], "generate_ahead/used")


def test_it_generates_while_the_batch_is_rewarded_and_trained_on(start, monkeypatch):
    def slow(completions, **columns):
        time.sleep(0.6)
        return [float(n) for n in range(len(completions))]

    monkeypatch.setitem(REWARDS, "length", slow)
    trainer, _ = start("slow", lambda path, body: time.sleep(0.5 * (path == GENERATE)), max_steps=4)
    waited = logged(trainer, "generate_ahead/waited_s")
    assert waited[0] >= 0.5
    assert max(waited[1:]) < 0.3


@pytest.mark.parametrize(
    "own",
    [
        pytest.param({}, marks=pytest.mark.long),
        {"num_iterations": 2, "gradient_accumulation_steps": 2, "steps_per_generation": 1},
    ],
)
def test_a_resume_goes_on_with_the_batch_that_was_made(start, own, tmp_path):
    """Evaluations in between ask the server too."""
    own = own | {"eval_strategy": "steps", "eval_steps": 2, "val_split_ratio": 0.2, "per_device_eval_batch_size": 2}
    start("whole", **own)
    stopped = 3
    shutil.copytree(tmp_path / "whole" / f"checkpoint-{stopped}", tmp_path / "half" / f"checkpoint-{stopped}")
    trainer, _ = start("half", **own)
    assert logged(trainer, "generate_ahead/used")[-1] == 1
    after = [record for record in completions(tmp_path / "whole") if record[0] >= stopped]
    assert after == completions(tmp_path / "half")
    again = load_file(tmp_path / "half" / "model.safetensors")
    for name, tensor in load_file(tmp_path / "whole" / "model.safetensors").items():
        assert tensor.equal(again[name]), name


def test_a_fault_names_the_step_that_it_costs(start, tmp_path):
    """The batch of step 2 was made before the server went: it is trained on, and the checkpoint is one of step 3."""
    with pytest.raises(RunStopped, match=r"is gone\. Nothing was trained in step 3"):
        start("gone", in_step(2, UPDATE, hang_up), save_strategy="no")
    assert (tmp_path / "gone" / "checkpoint-3").is_dir()


def test_it_needs_a_server(flags, capsys):
    for own, told in (
        ({"generate_ahead": 1}, "needs --use_vllm true --vllm_mode server"),
        ({"generate_ahead": 2, "use_vllm": "true", "vllm_mode": "server"}, "--generate_ahead 2: 0, or 1"),
    ):
        assert main(flags(**own)) == 2
        assert told in capsys.readouterr().err.splitlines()[-1]
