"""The page that follows a run: what it makes of the run's files, whatever state they are in, and the page in Chromium
while a real run trains."""

import json
import os
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect, sync_playwright

from overlay.pages.watch import server
from overlay.pages.watch.curves import POINTS, place
from overlay.pages.watch.state import Watched
from overlay.training import stopped
from overlay.training.rollout_file import FOLDER, RolloutFile
from overlay.training.run_files import LOG, RECORD, Tail
from tests.conftest import CHROMIUM, needs_chromium
from tests.pages.looks import look
from tests.stock import TASKS

GOLD = '{"action_type": "click", "action_parameter": {"click": "10,20,60,90"}}'
WRONG = '<answer>{"action_type": "click", "action_parameter": {"click": "1,2,3,4"}}</answer>'


def rollout(step, right=True, mode="train", source="rows.jsonl:1"):
    return {
        "step": step, "mode": mode, "source": source, "image_path": [], "problem": '{"task_content": "打开"}',
        "solution": GOLD, "completion": f"<answer>{GOLD}</answer>" if right else WRONG,
        "rewards": {"gui_action_reward": float(right)}, "advantage": 0.5,
    }  # fmt: skip


def log(folder, *entries, how="a"):
    folder.mkdir(exist_ok=True)
    with open(folder / LOG, how) as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)


def curve(look, panel, name):
    (found,) = [c for p in look["panels"] if p["title"] == panel for c in p["curves"] if c["name"] == name]
    return found["points"]


def test_a_run_that_has_written_nothing(tmp_path):
    look = Watched(tmp_path / "none").look()
    assert look["state"] == {"kind": "waiting", "step": 0, "of": None, "pace": None}
    assert (look["panels"], look["groups"]) == ([], [])
    assert not (tmp_path / "none").exists()


def test_ranks_of_an_earlier_start_are_left_out(tmp_path):
    settings = {"world_size": 1, "thinking": False}
    (tmp_path / RECORD).write_text(json.dumps({"finished": None, "settings": settings}))
    for rank, steps in ((0, 3), (1, 6)):
        file = RolloutFile(str(tmp_path), rank, 1)
        file.write([rollout(step, right=not rank) for step in range(steps)])
    look = Watched(tmp_path).look()
    assert [each["rank"] for each in look["ranks"]] == [0]
    assert [group["step"] for group in look["groups"]] == [2]
    assert curve(look, "right answers", "step_success_rate") == [[1, 1.0], [2, 1.0], [3, 1.0]]
    assert curve(look, "right answers", "format_rate")[-1] == [3, 1.0]  # an answer alone is all that was asked for


def test_state_steps_and_the_time_left(tmp_path):
    now = time.time()
    (tmp_path / RECORD).write_text(json.dumps({"finished": None, "settings": {"num_train_epochs": 2, "max_steps": -1}}))
    watched = Watched(tmp_path)
    assert watched.look()["state"]["kind"] == "running"  # its model loads
    log(tmp_path, *({"loss": 1, "epoch": step / 10, "step": step, "time": now - 40 + 4 * step} for step in range(1, 6)))
    state = watched.look()["state"]
    assert (state["kind"], state["step"], state["of"]) == ("running", 5, 20)
    assert (state["pace"], state["left"]) == (pytest.approx(4), pytest.approx(60))
    for path in tmp_path.iterdir():
        os.utime(path, (now - 61, now - 61))
    state = watched.look()["state"]
    assert (state["kind"], round(state["age"])) == ("silent", 61)
    stopped.keep(str(tmp_path), "the disk is full", 5)
    assert watched.look()["state"]["reason"] == "the disk is full"
    (tmp_path / RECORD).write_text(json.dumps({"finished": 20, "settings": {}}))
    assert watched.look()["state"]["kind"] == "finished"


def test_a_slow_run_is_not_called_silent(tmp_path):
    """30 s a step, each tenth logged."""
    now = time.time()
    log(
        tmp_path, *({"loss": 1, "step": 10 * n, "time": now - 1000 + 300 * n} for n in (1, 2))
    )  # 30 s a step, each 10th
    os.utime(tmp_path / LOG, (now - 400, now - 400))
    assert Watched(tmp_path).look()["state"]["kind"] == "running"


def test_lines_that_are_cut_short_or_damaged(tmp_path):
    watched = Watched(tmp_path)
    log(tmp_path, {"loss": 3, "step": 1}, {"loss": float("nan"), "kl": 0.1, "step": 2})
    with open(tmp_path / LOG, "a") as file:
        file.write('nonsense\n[]\n{"loss": 1, "step": "x"}\n{"loss": 2, "st')
    look = watched.look()
    json.dumps(look, allow_nan=False)
    assert curve(look, "loss", "loss") == [[1, 3]]
    assert curve(look, "KL from the reference model", "KL") == [[2, 0.1]]
    with open(tmp_path / LOG, "a") as file:
        file.write('ep": 3}\n')
    assert curve(watched.look(), "loss", "loss") == [[1, 3], [3, 2]]
    RolloutFile(str(tmp_path), 0, 10).write([rollout(0), rollout(0, right=False)])
    with open(tmp_path / FOLDER / "rank00000.jsonl", "a") as file:
        file.write('{"step": 1}\n{"step": 1, "mo')
    (group,) = watched.look()["groups"]
    assert [answer["right"] for answer in group["answers"]] == [True, False]


def test_after_a_resume_each_step_stands_once(tmp_path):
    watched = Watched(tmp_path)
    log(tmp_path, *({"loss": step, "step": step} for step in (1, 2, 3, 4)))
    file = RolloutFile(str(tmp_path), 0, 10)
    for step in range(4):
        file.write([rollout(step)])
    assert len(curve(watched.look(), "right answers", "step_success_rate")) == 4
    log(tmp_path.joinpath("aside"), {"loss": 1, "step": 1}, {"loss": 2, "step": 2}, {"loss": 7, "step": 3}, how="w")
    (tmp_path / "aside" / LOG).replace(tmp_path / LOG)  # as LogFile does
    file.write([rollout(2, right=False)])
    look = watched.look()
    assert look["state"]["step"] == 3
    assert curve(look, "loss", "loss") == [[1, 1], [2, 2], [3, 7]]
    assert curve(look, "right answers", "step_success_rate") == [[1, 1], [2, 1], [3, 0]]
    assert curve(Watched(tmp_path).look(), "right answers", "step_success_rate") == [[1, 1], [2, 1], [3, 0]]


def test_several_ranks_and_a_full_file(tmp_path):
    watched = Watched(tmp_path)
    second, first = (RolloutFile(str(tmp_path), rank, 0.002) for rank in (1, 0))  # half a kilobyte: two records at most
    second.write([rollout(0), rollout(0, source="rows.jsonl:2")])
    watched.look()  # before the other one has a file
    for step in range(5):
        first.write([rollout(step), rollout(step, right=False)])
        if 0 < step < 4:
            second.write([rollout(step), rollout(step, source="rows.jsonl:2")])
        look = watched.look()
    assert look["ranks"] == [{"rank": 0, "step": 4}, {"rank": 1, "step": 3}]
    assert [group["step"] for group in look["groups"]] == [4]
    second.write([rollout(4), rollout(4, mode="eval", source="held.jsonl:1")])
    look = watched.look()
    assert [(group["source"], group["mode"]) for group in look["groups"]] == [
        ("rows.jsonl:1", "train"), ("held.jsonl:1", "eval"),
    ]  # fmt: skip
    assert curve(look, "right answers", "step_success_rate")[:4] == [[step, 0.75] for step in (1, 2, 3, 4)]
    assert curve(look, "right answers", "step_success_rate")[4] == [5, pytest.approx(2 / 3)]


def test_an_evaluation_stands_behind_the_newest_training_step(tmp_path):
    watched, file = Watched(tmp_path), RolloutFile(str(tmp_path), 0, 10)
    shown = lambda: [(group["mode"], group["step"]) for group in watched.look()["groups"]]  # noqa: E731
    file.write([rollout(5), rollout(6, mode="eval", source="held.jsonl:1")])
    assert shown() == [("train", 5), ("eval", 6)]
    file.write([rollout(6)])
    assert shown() == [("train", 6), ("eval", 6)]
    file.write([rollout(7)])
    assert shown() == [("train", 7)]


def test_a_long_run_is_thinned(tmp_path):
    log(tmp_path, *({"kl": step, "step": step} for step in range(1, 2001)))
    points = curve(Watched(tmp_path).look(), "KL from the reference model", "KL")
    assert len(points) <= POINTS
    assert points[-1][0] == 2000


def test_the_first_look_reads_the_end_of_a_large_file(tmp_path):
    (tmp_path / "a").write_bytes(b"".join(b"%05d\n" % n for n in range(1000)))
    tail = Tail(tmp_path / "a", 20)
    assert tail.lines() == (False, [b"00997", b"00998", b"00999"])
    assert tail.lines() == (False, [])


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("rewards/accuracy_reward/mean", ("reward", "accuracy_reward")),  # TRL's name, then VLM-R1's
        ("rewards/accuracy_reward", ("reward", "accuracy_reward")),
        ("rewards/accuracy_reward/std", None),
        ("eval_reward", ("reward", "held out: all, weighted")),
        ("completion_length", ("completion length (tokens)", "mean")),
        ("completions/clipped_ratio", ("cut at the limit (share)", "cut")),
        ("truncated", ("cut at the limit (share)", "cut")),
        ("eval_step_success_rate", ("right answers", "held out: step_success_rate")),
        ("judge/failure_rate", ("judge: answers without a verdict (share)", "failed")),
        ("sampler/logp_difference", ("sampler and trainer apart (nats a token)", "mean")),
        ("total_flos", None),
    ],
)
def test_both_backends_names_have_their_place(name, where):
    assert place(name) == where


@contextmanager
def served(folder):
    with server.Server(folder, 0) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()


def test_only_this_machine_and_only_screens_of_the_page(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(next(TASKS.rglob("*.png")).read_bytes())
    with served(tmp_path / "run") as url:
        for path, host in (("/", "evil.example:80"), (f"/screen?path={secret}", None), ("/../x", None), ("/state", "")):
            request = urllib.request.Request(url + path, headers={} if host is None else {"Host": host})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request)
            assert refused.value.code == (404 if host is None else 403)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["run", "--port", "70000"], "watch: --port 70000: at most 65535"),
        ([__file__], f"watch: {__file__}: give the output folder of a training run"),
    ],
)
def test_what_cannot_be_watched_is_one_line(line, told, capsys):
    assert server.main(line) == 2
    assert capsys.readouterr().err == f"{told}\n"


def test_a_port_that_is_taken_is_one_line(tmp_path, capsys):
    with served(tmp_path) as url:
        port = url.rpartition(":")[2]
        assert server.main([str(tmp_path), "--port", port]) == 2
    assert capsys.readouterr().err.startswith(f"watch: --port {port}: Address already in use: choose another")


# What the state said over time; gone with a reload.
NOTING = """() => {
  window.seen = [];
  const state = document.getElementById("state"), note = () => seen.push(state.innerText);
  new MutationObserver(note).observe(state, {childList: true, subtree: true, characterData: true});
}"""


@needs_chromium
@pytest.mark.integration
@pytest.mark.parametrize("resumed", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_page_follows_a_real_run(resumed, flags, forks, tmp_path):
    """Two ranks that train, from before the first byte to the end; and that go on where they stopped."""
    run = tmp_path / "run"
    shared = {"save_steps": 14, "beta": 0.04, "per_device_train_batch_size": 2, "resume_changed": "true"}
    start = lambda steps: forks.start(  # noqa: E731
        ["-m", "overlay.backends.trl.train", *flags(max_steps=steps, **shared)], tmp_path / f"log-{steps}", 2
    )
    errors = []
    with served(run) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        page = browser.new_page(viewport={"width": 420, "height": 900}, locale="en-US")
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}/?every=100")
        state = page.locator("#state")
        expect(state).to_have_text("waiting nothing is written here yet")
        page.evaluate(NOTING)
        for steps in (14, 28)[: 1 + resumed]:
            job = start(steps)
            assert job.wait().statuses == [0, 0]
            expect(state).to_have_text(f"finished after step {steps}", timeout=10_000)
            assert any(f" of {steps}, about " in each for each in page.evaluate("seen"))
        expect(page.locator(".panel h3", has_text="KL from")).to_be_visible()
        expect(page.locator("article small").first).to_contain_text(f"step {steps - 1} · gold ")
        assert page.locator("#ranks span").all_inner_texts() == [f"rank {n}: step {steps - 1}" for n in (0, 1)]
        assert page.locator("article").count() == 2  # prompts of the two ranks' four answers
        assert page.locator("article").first.locator("li").count() == 2
        page.locator("article summary").first.click()
        assert not page.locator("#follow").is_checked()
        expect(page.locator("article pre.completion").first).to_be_visible()
        page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert page.evaluate("seen.length > 2 && document.images.length > 0")
        look(page)
        page.locator("#language").click()
        expect(state).to_have_text(f"已完成 共 {steps} 步")
        browser.close()
    assert errors == []
    said = Watched(run).look()
    for panel, name in (("loss", "loss"), ("right answers", "format_rate")):
        assert [step for step, _ in curve(said, panel, name)] == [*range(1, steps + 1)]
