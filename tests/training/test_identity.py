"""An output folder holds one run: another one does not go on with its weights, and a finished one is not trained on."""

import json

import pytest
import torch
from transformers import AutoModelForImageTextToText

from overlay.backends.trl.train import main
from overlay.errors import SettingError
from overlay.rewards import REWARDS
from overlay.training.identity import RECORD, check_identity

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def letters_reward(monkeypatch):
    def letters(completions, **columns):
        return [sum(map(ord, completion[0]["content"])) % 97 / 97 for completion in completions]

    monkeypatch.setitem(REWARDS, "letters", letters)


def weights(folder):
    return AutoModelForImageTextToText.from_pretrained(folder).state_dict()


def same(first, second):
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_another_runs_folder_is_refused_with_the_difference(flags, tmp_path, capsys, demo_rows):
    settings = {"reward_funcs": "letters", "max_steps": 2, "save_steps": 1}
    assert main(flags(**settings)) == 0
    other = tmp_path / "other.jsonl"
    other.write_text("".join(demo_rows.open(encoding="utf-8").readlines()[:50]), encoding="utf-8")
    for changed, told in (
        ({"learning_rate": 1e-4}, "learning_rate 0.001 there, 0.0001 now"),
        ({"data_file_paths": other}, r"data \['"),
        ({"num_generations": 4}, "num_generations 2 there, 4 now"),
    ):
        assert main(flags(**settings | changed)) == 2
        (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("train: ")]
        assert "holds another run" in line
        assert told.replace("\\", "") in line
        assert "--resume_changed true" in line
    assert main(flags(**settings | {"max_steps": 3, "resume_changed": "true"})) == 0
    record = json.loads((tmp_path / "run" / RECORD).read_text())
    assert record["max_steps"] == 3  # from now on that is the run


def test_what_may_change_between_starts(flags, tmp_path):
    settings = {"reward_funcs": "letters", "max_steps": 2, "save_steps": 1}
    assert main(flags(**settings)) == 0
    (tmp_path / "run" / "checkpoint-2").rename(tmp_path / "gone")
    assert main(flags(**settings | {"save_steps": 2, "logging_steps": 2, "arrow_cache_dir": tmp_path / "more"})) == 0


def test_a_finished_run_says_so_and_is_left_alone(flags, tmp_path, capsys):
    line = flags(reward_funcs="letters", max_steps=2, save_steps=1)
    assert main(line) == 0
    before = weights(tmp_path / "run")
    capsys.readouterr()
    assert main(line) == 0
    assert f"train: {tmp_path / 'run'}: already finished, step 2 of 2" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoint-3").exists()
    assert same(weights(tmp_path / "run"), before)


def test_a_run_cut_off_before_its_model_was_saved_saves_it(flags, tmp_path):
    line = flags(reward_funcs="letters", max_steps=2, save_steps=1)
    assert main(line) == 0
    before = weights(tmp_path / "run")
    for file in (tmp_path / "run").glob("*.safetensors"):
        file.unlink()
    (tmp_path / "run" / "config.json").unlink()
    assert main(line) == 0
    assert same(weights(tmp_path / "run"), before)


def test_a_folder_from_before_there_were_records_is_taken(tmp_path):
    (tmp_path / "checkpoint-1").mkdir()
    check_identity(str(tmp_path), {"seed": 1}, False, writes=True)
    check_identity(str(tmp_path), {"seed": 1, "a flag of a later version": 2}, False, writes=False)
    with pytest.raises(SettingError, match=r"holds another run \(seed 1 there, 2 now\)"):
        check_identity(str(tmp_path), {"seed": 2}, False, writes=True)
