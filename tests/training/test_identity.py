"""An output folder holds one run: another one does not go on with its weights, and a finished one is not trained on."""

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForImageTextToText

from overlay.backends.trl.train import main
from overlay.errors import SettingError
from overlay.rewards import REWARDS
from overlay.training.identity import RECORD, RunRecord, settings_of

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
    assert record["settings"]["max_steps"] == 3  # from now on that is the run
    assert record["finished"] == 3


def test_every_start_is_kept_as_it_was_asked_for(flags, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train", "--max_steps", "1", "--hub_token", "hf_secret"])
    monkeypatch.setenv("OVERLAY_SETTINGS", "EPOCHS  2  block\nBATCH  8  environment")
    for steps in (1, 2):
        assert main(flags(reward_funcs="letters", max_steps=steps, save_steps=1, resume_changed="true")) == 0
    record = json.loads((tmp_path / "run" / RECORD).read_text())
    assert [start["flags"] for start in record["starts"]] == [["--max_steps", "1", "--hub_token", "***"]] * 2
    assert record["starts"][0]["launcher"] == ["EPOCHS  2  block", "BATCH  8  environment"]
    assert record["finished"] == 2


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
    assert f"train: {tmp_path / 'run'}: already finished at step 2" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoint-3").exists()
    assert same(weights(tmp_path / "run"), before)


def test_a_run_cut_off_before_its_model_was_saved_saves_it(flags, tmp_path):
    line = flags(reward_funcs="letters", max_steps=2, save_steps=1)
    assert main(line) == 0
    before = weights(tmp_path / "run")
    for file in (*(tmp_path / "run").glob("*.safetensors"), tmp_path / "run" / "config.json"):
        file.unlink()
    assert main(line) == 0
    assert same(weights(tmp_path / "run"), before)
    assert not (tmp_path / "run" / "checkpoint-3").exists()


def test_a_longer_run_that_is_meant_goes_on(flags, tmp_path):
    """Epochs and not steps say how long it is; also from another run's last checkpoint."""
    rows = {"reward_funcs": "letters", "max_steps": None, "per_device_train_batch_size": 4, "save_steps": 50}
    short, longer = rows | {"num_train_epochs": 0.02}, rows | {"num_train_epochs": 0.04}
    assert main(flags(**short)) == 0
    steps = [int(path.name.split("-")[1]) for path in (tmp_path / "run").glob("checkpoint-*")]
    assert main(flags(**longer, output_dir=tmp_path / "other", resume_from_checkpoint=tmp_path / "run" /
                      f"checkpoint-{max(steps)}")) == 0  # fmt: skip
    assert main(flags(**longer, resume_changed="true")) == 0
    for folder in ("other", "run"):
        reached = [int(path.name.split("-")[1]) for path in (tmp_path / folder).glob("checkpoint-*")]
        assert max(reached) > max(steps)


def test_a_refused_start_does_not_change_the_record(flags, tmp_path):
    settings = {"reward_funcs": "letters", "max_steps": 2, "save_steps": 1}
    assert main(flags(**settings)) == 0
    before = (tmp_path / "run" / RECORD).read_text()
    assert main(flags(**settings, resume_changed="true", dtype="bfloat16")) == 2
    assert (tmp_path / "run" / RECORD).read_text() == before


def test_the_same_run_from_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "rows.jsonl").write_text("rows")
    monkeypatch.chdir(tmp_path)
    one, other = (
        settings_of(SimpleNamespace(model_name_or_path=model, data_file_paths=rows, reward_weights=weights))
        for model, rows, weights in (
            ("./model", "rows.jsonl", [1.0, 2.0]),
            (f"{tmp_path}/model/", f"{tmp_path}/rows.jsonl", (1.0, 2.0)),
        )
    )
    assert one == other


def test_a_folder_from_before_there_were_records_is_taken(tmp_path):
    (tmp_path / "checkpoint-1").mkdir()
    first = RunRecord(str(tmp_path), {"seed": 1}, writes=True)
    first.check(False)
    first.keep()
    RunRecord(str(tmp_path), {"seed": 1, "a flag of a later version": 2}, writes=False).check(False)
    with pytest.raises(SettingError, match=r"holds another run \(seed 1 there, 2 now\)"):
        RunRecord(str(tmp_path), {"seed": 2}, writes=True).check(False)
