import json
import multiprocessing
import os
import re
from functools import partial

import pytest
from PIL import Image

from overlay.action.action import parse_action
from overlay.action.space import Space
from overlay.data import arrow
from overlay.data.dataset import load_dataset
from overlay.data.examples import as_examples, as_rows
from overlay.errors import DataError
from overlay.prompt.style import PromptStyle

CLICK = '{"action_type": "click", "action_parameter": {"click": "1,2,3,4"}}'


def row(value="<image>?", answer="4", image="a.png", **more):
    turns = [{"from": "human", "value": value}, {"from": "gpt", "value": answer}]
    return {"id": 1, "conversations": turns} | ({} if image is None else {"image": image}) | more


def write(path, rows):
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in rows))
    return path


@pytest.fixture
def load(tmp_path):
    return partial(load_dataset, image_folders=str(tmp_path), cache_dir=tmp_path / "cache")


def test_reads_what_vlm_r1_documents(tmp_path, load):
    file = write(tmp_path / "d.jsonl", [
        row(), row(image=["a.png", "b.png"], value="<image><image>?"), row(image=None, value="?"),
        row(answer=3.5), row(answer="<answer> yes </answer>"), row(accu_reward_method="mcq"), "\n",
        row(image=["a.png", "b.png"], value="no marks"),
    ])  # fmt: skip
    data = load(str(file), reward_method="gui_action")
    assert data["image"][:3] == [[f"{tmp_path}/a.png"], [f"{tmp_path}/a.png", f"{tmp_path}/b.png"], []]
    assert data["solution"][3:5] == ["3.5", "yes"]
    assert data["accu_reward_method"][4:6] == ["gui_action", "mcq"]
    assert data["problem"][6] == "<image><image>no marks"  # where VLM-R1 puts them
    assert data["source"][6] == f"{file}:8"


def test_further_right_answers(tmp_path, load):
    """As objects or as text, in any spelling of an action; in the model's space as gold is."""
    Image.new("RGB", (500, 1000)).save(tmp_path / "a.png")
    click = {"action_type": "click", "action_parameter": {"click": "100,100,200,300"}}
    also = [click, "```json\n" + json.dumps({"action_type": "BACK"}) + "\n```"]
    rows = [row(answer=json.dumps(click), also=also), row(also=None), row(), row(also=["<answer>5</answer>"])]
    data = load(str(write(tmp_path / "d.jsonl", rows)))
    back = {"action_type": "back", "action_parameter": {"back": ""}}
    assert [json.loads(text) for text in data["also"][0]] == [click, back]
    assert data["also"][1:] == [[], [], ["5"]]
    shown = as_rows(data, PromptStyle(space=Space("norm1000")))[0]
    assert parse_action(shown["also"][0]) == parse_action(shown["solution"])
    assert parse_action(shown["also"][0]).parameter == "200,100,400,300"


def test_several_files_with_folders_and_methods(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / f"{name}.jsonl", [row()])
    paths = f"{tmp_path}/one.jsonl:{tmp_path}/two.jsonl"
    data = load_dataset(paths, f"{tmp_path}/one:{tmp_path}/two", "mcq:llm", tmp_path / "cache")
    assert data["image"][:] == [[f"{tmp_path}/one/a.png"], [f"{tmp_path}/two/a.png"]]
    assert data["accu_reward_method"][:] == ["mcq", "llm"]
    with pytest.raises(DataError, match="2 data files but 1 in --image_folders"):
        load_dataset(paths, str(tmp_path))
    with pytest.raises(DataError, match="2 data files but 3 in --reward_method"):
        load_dataset(paths, f"{tmp_path}:{tmp_path}", "a:b:c")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": 1, "conv\n', "not JSON"),
        ("[]\n", "not a JSON object"),
        (row(value="<image><image>"), "2 <image> marks but 1 images"),
        (row(image=5), "neither a path nor a list"),
        (row(also="4"), "'also' is no list of further right answers"),
        (row(also=[4]), "'also' is no list of further right answers"),
        (row(also=[{}]), "'also' is no list of further right answers"),
        (row(answer=CLICK, also=["no JSON"]), "also[0] is no action, as the row's own answer is: no JSON"),
        (row(answer=CLICK, also=[json.loads(CLICK), {"action_type": "fly"}]), "also[1] is no action"),
        (row(answer=CLICK, also=[{"action_type": "click"}]), "also[0]: click None is not x1,y1,x2,y2"),
        (row(answer=CLICK, also=[{"action_type": "swipe", "action_parameter": {"swipe": "1,2"}}]), "not x1,y1,x2,y2"),
        (row(answer=None), "neither text nor a number"),
        ({"image": "a.png"}, "needs a human and a gpt turn"),
        (row(accu_reward_method="mpc"), "unknown reward method 'mpc'"),
    ],
)
def test_a_bad_row_names_file_and_line(line, message, tmp_path, load):
    file = write(tmp_path / "d.jsonl", [row(), row(), line, row()])
    with pytest.raises(DataError, match=re.escape(message)) as error:
        load(str(file), methods=("default",))
    assert str(error.value).startswith(f"{file}:3: ")
    assert not [p for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock"]  # nothing half built


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"images": ["a.png"]} | row(image=None, value="?"), "image paths stand under 'image', not under 'images'"),
        ({"img": "a.png"} | row(image=None, value="?"), "not under 'img'"),
        (row() | {"conversations": row()["conversations"] * 2}, "4 turns, but a row is one question"),
        (row(elements=[1, 2, 3, 4]), "'elements' is no list of boxes"),
        (row(elements=[[1, 2, "3", 4]]), "'elements' holds what is no number"),
        (row(elements=[[1, 2, 3, 10**12]]), "'elements' holds what is no number"),
        (row(group=5), "'group' is not a string"),
    ],
)
def test_what_would_be_lost_in_silence_is_refused(line, message, tmp_path, load):
    file = write(tmp_path / "d.jsonl", [row(), line])
    with pytest.raises(DataError, match=rf"d\.jsonl:2: .*{message}"):
        load(str(file))


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ('{"action_type": "fly"}', 'the gold answer is no action: {"action_type": "fly"}'),
        ('{"action_type": "click", "action_parameter": NaN}', "the gold answer is no action"),
        ('{"action_type": "click", "action_parameter": {"click": "1,2"}}', "click '1,2' is not x1,y1,x2,y2"),
        ('{"action_type": "click", "action_parameter": {"swipe": "1,2,3,4"}}', "click None is not x1,y1,x2,y2"),
    ],
)
def test_a_gold_that_no_answer_can_be_right_by_is_refused(gold, message, tmp_path, load):
    file = write(tmp_path / "d.jsonl", [row(), row(answer=gold)])
    with pytest.raises(DataError, match=rf"d\.jsonl:2: .*{re.escape(message)}"):
        load(str(file), reward_method="gui_action")
    assert len(load(str(file), reward_method="default")) == 2  # another schema's actions, compared as text
    file = write(tmp_path / "mixed.jsonl", [row(), row(answer=gold, accu_reward_method="llm"), row(answer="yes")])
    assert len(load(str(file), reward_method="gui_action")) == 3


def test_elements_and_group_reach_the_trainer_and_the_score(tmp_path, load):
    Image.new("RGB", (200, 400)).save(tmp_path / "a.png")
    file = write(tmp_path / "d.jsonl", [row(elements=[[1, 2, 3.6, 4]], group="web"), row(elements=[]), row()])
    data = load(str(file))
    assert data["elements"][:] == [[[1, 2, 3.6, 4]], [], None]
    assert data["group"][:] == ["web", "", ""]
    shown = [as_rows(data, PromptStyle())[n] for n in range(3)]
    assert [each["elements"] for each in shown] == [[[1, 2, 3.6, 4]], [], None]
    assert shown[0]["group"] == "web"


CLICK = {"action_type": "click", "action_parameter": {"click": "20,40,60,80"}, "action_description": "点"}
SPELLED = {
    "as make data has it": json.dumps(CLICK, ensure_ascii=False),
    "in capitals": json.dumps(CLICK | {"action_type": "CLICK", "action_parameter": {"CLICK": "20,40,60,80"}}),
    "bare": json.dumps(CLICK | {"action_parameter": "20,40,60,80"}),
    "a bare list": json.dumps(CLICK | {"action_parameter": [20, 40, 60, 80]}),
    "fenced": "```json\n" + json.dumps(CLICK) + "\n```",
    "after its reasoning": "<think>why</think>\n<answer>" + json.dumps(CLICK) + "</answer>",
    "fenced in tags": "<answer>\n```\n" + json.dumps(CLICK) + "```</answer>",
}


@pytest.mark.parametrize("spelling", SPELLED)
def test_gold_is_rescaled_however_it_is_spelled(spelling, tmp_path, load):
    Image.new("RGB", (200, 400)).save(tmp_path / "a.png")
    file = write(tmp_path / "d.jsonl", [row(answer=SPELLED[spelling])])
    example = as_rows(load(str(file)), PromptStyle(space=Space("norm1000")))[0]
    gold = parse_action(example["solution"])
    assert (gold.type, gold.coordinates) == ("click", (100, 100, 300, 200))
    assert json.loads(example["solution"])["action_description"] == "点"


@pytest.mark.parametrize("text", ['{"action_type": "Wait"}', "```json\n{}\n```", "yes", '{"a": 1}', "[1, 2]", "3.0"])
def test_other_answers_stay(text, tmp_path, load):
    solution = load(str(write(tmp_path / "d.jsonl", [row(answer=text)])))["solution"][0]
    assert solution == ('{"action_type": "wait", "action_parameter": {"wait": ""}}' if "Wait" in text else text)


def test_vlm_r1s_published_rows(upstream, tmp_path):
    """1,797 questions about two screens each, without a mark: the trainers and the data check read them."""
    file = upstream / "data_jsonl" / "gui_multi-image.jsonl"
    data = load_dataset(str(file), str(tmp_path), cache_dir=tmp_path / "cache", methods=("default",))
    assert len(data) == 1797
    assert {len(paths) for paths in data["image"]} == {2}
    assert all(problem.startswith("<image><image>You are") for problem in data["problem"])


def test_the_cache_serves_whoever_stands_elsewhere(tmp_path, monkeypatch):
    """The same file and folder, typed as seen from two places."""
    (tmp_path / "shots").mkdir()
    Image.new("RGB", (20, 30)).save(tmp_path / "shots" / "a.png")
    write(tmp_path / "d.jsonl", [row()])
    monkeypatch.chdir(tmp_path)
    first = load_dataset("d.jsonl", "shots", cache_dir=tmp_path / "cache")
    monkeypatch.chdir("/")
    again = load_dataset(str(tmp_path / "d.jsonl"), str(tmp_path / "shots"), cache_dir=tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("d-*/"))) == 1
    assert first["image"][:] == again["image"][:] == [[f"{tmp_path}/shots/a.png"]]
    assert again["source"][:] == [f"{tmp_path}/d.jsonl:1"]
    assert as_examples(again, PromptStyle())[0]["images"][0].size == (20, 30)


def test_a_file_behind_a_link_has_rows_of_its_own_name(tmp_path, load):
    (tmp_path / "real").mkdir()
    write(tmp_path / "real" / "d.jsonl", [row(image=None, value="?")])
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = [load(str(tmp_path / name / "d.jsonl"))["source"][0] for name in ("link", "real")]
    assert found == [f"{tmp_path}/link/d.jsonl:1", f"{tmp_path}/real/d.jsonl:1"]


def test_missing_places_are_named(tmp_path, load):
    with pytest.raises(DataError, match="no such data file"):
        load(str(tmp_path / "none.jsonl"))
    file = write(tmp_path / "d.jsonl", [row()])
    with pytest.raises(DataError, match="no such image folder"):
        load_dataset(str(file), str(tmp_path / "none"))
    with pytest.raises(DataError, match="no rows"):
        load(str(write(tmp_path / "empty.jsonl", ["\n"])))


def test_shards_keep_order_and_line_numbers(tmp_path, load, monkeypatch):
    monkeypatch.setattr(arrow, "SHARD", 500)
    file = write(tmp_path / "d.jsonl", [row(value=f"<image>{i}", answer=i) for i in range(200)])
    data = load(str(file))
    assert data["solution"][:] == [str(i) for i in range(200)]
    assert data["source"][137] == f"{file}:138"
    assert len(list((tmp_path / "cache").glob("*/*.arrow"))) > 10


def test_cache_is_used_until_the_file_changes(tmp_path, load, monkeypatch):
    file = write(tmp_path / "d.jsonl", [row(answer="1")])
    load(str(file))
    monkeypatch.setattr(arrow, "_rows", None)  # a second build would fail
    assert load(str(file))["solution"][:] == ["1"]
    monkeypatch.undo()
    write(file, [row(answer="2")])
    os.utime(file, ns=(1, 1))
    assert load(str(file))["solution"][:] == ["2"]


def _count_builds(file, folder, builds):
    original = arrow.build

    def counted(source, target):
        with builds.get_lock():
            builds.value += 1
        original(source, target)

    import overlay.data.dataset

    overlay.data.dataset.build = counted
    assert len(load_dataset(file, folder, cache_dir=f"{folder}/cache")) == 500


def test_a_split_leaves_the_cache_as_it_was(tmp_path, load):
    file = write(tmp_path / "d.jsonl", [row(answer=str(n)) for n in range(20)])
    data = load(str(file))
    assert len(data.train_test_split(test_size=0.2, seed=1)["train"]) == 16
    assert list((tmp_path / "cache").glob("*/cache-*.arrow"))  # where datasets keeps the split
    assert load(str(file))["solution"][:] == data["solution"][:]


def test_ranks_build_once(tmp_path):
    file = write(tmp_path / "d.jsonl", [row(value="<image>" + "x" * 2000) for _ in range(500)])
    context = multiprocessing.get_context("fork")
    builds = context.Value("i", 0)
    ranks = [context.Process(target=_count_builds, args=(str(file), str(tmp_path), builds)) for _ in range(4)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert [rank.exitcode for rank in ranks] == [0] * 4
    assert builds.value == 1


def test_images_open_only_for_their_row(tmp_path, load):
    Image.new("RGBA", (30, 40)).save(tmp_path / "a.png")
    file = write(tmp_path / "d.jsonl", [row(), row(image="gone.png"), row(image=None, value="?")])
    examples = as_examples(load(str(file)), PromptStyle())
    assert examples[0]["images"][0].size == (30, 40)
    assert examples[0]["images"][0].mode == "RGB"
    assert examples[0]["prompt"][0]["content"] == [{"type": "image"}, {"type": "text", "text": "?"}]
    assert examples[2]["images"] == []
    with pytest.raises(DataError, match=r"d\.jsonl:2: image .*gone\.png"):
        examples[1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": ""}, "'image' is neither a path nor a list of paths"),
        ({"image": [""]}, "'image' is neither a path nor a list of paths"),
        ({"problem": "Where is <|image_pad|>?"}, r"the question holds <\|image_pad\|>, which the chat template takes"),
        ({"problem": "<|im_end|>"}, r"the question holds <\|im_end\|>"),
        ({"answer": "<|image_pad|>"}, r"the gold answer holds <\|image_pad\|>"),
        ({"answer": "<think><|im_start|></think>4"}, r"the gold answer holds <\|im_start\|>"),
        ({"thinking": "<|vision_end|>"}, r"'thinking' holds <\|vision_end\|>"),
    ],
)
def test_what_would_end_a_run_half_way_is_refused_with_its_line(changed, message, tmp_path):
    good = {"problem": "hello", "answer": "x"}
    lines = []
    for row in (good, good | changed):
        turns = [{"from": "human", "value": row.pop("problem")}, {"from": "gpt", "value": row.pop("answer")}]
        lines.append(json.dumps({"conversations": turns} | row))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: .*{message}"):
        load_dataset(str(tmp_path / "rows.jsonl"), str(tmp_path), cache_dir=tmp_path / "arrow")
