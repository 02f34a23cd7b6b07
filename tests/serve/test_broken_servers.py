"""Each kind of broken reply costs one row of a score, one question, one verdict, with its reason."""

import json
from collections import Counter

import pytest

from overlay.action.action import described, parse_action
from overlay.action.completion import whole_text
from overlay.evaluate import score
from overlay.rewards.judge import client as judging
from overlay.rewards.judge.client import Judge
from overlay.serve import ask
from overlay.settings import JudgeArguments
from tests.broken_server import KINDS, WAIT, body, broken_server
from tests.served_parts import HELD_OUT_TASKS


@pytest.fixture
def broken(monkeypatch):
    with broken_server() as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        yield server


def line_of(broken, held_out, *more):
    asked = ["--url", broken.url, "--name", "m", "--data", str(held_out), "--images", HELD_OUT_TASKS]
    return [*asked, "--retries", "0", "--timeout", "1", *more]


def test_each_costs_a_score_one_row(broken, held_out, tmp_path, capsys):
    """One score over all kinds, one row each: counts by reason in metrics.json and on the page, and no traceback."""
    line = line_of(broken, held_out, "--out", str(tmp_path), "--limit", str(len(KINDS)))
    assert score.main(line) == 3
    wanted = Counter(reason for _, reason in KINDS.values() if reason)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["unanswered"] == wanted
    assert metrics["rows"] == len(KINDS) - wanted.total()
    assert metrics["truncated"]["value"] == pytest.approx(1 / metrics["truncated"]["n"])
    said = capsys.readouterr().err
    assert f"eval: {wanted.total()} of {len(KINDS)} rows have no answer" in said
    assert "Traceback" not in said
    page = (tmp_path / "report.html").read_text()
    assert f"{wanted.total()} rows have no answer and are not counted" in page
    assert f"tool calls only {wanted['tool calls only']}" in page
    assert "answers were cut at max_tokens" in page
    kept = [json.loads(text) for text in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert {record["completion"] for record in kept} == {WAIT}
    broken.kind = "as usual"  # the server is mended: the same command asks for the rest
    before = len(broken.requests)
    assert score.main(line) == 0
    assert len(broken.requests) - before == wanted.total() + 3  # probes
    assert json.loads((tmp_path / "metrics.json").read_text())["unanswered"] == {}


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_one_line_for_one_question(kind, broken, held_out, tmp_path, capsys):
    broken.kind = kind
    reason = KINDS[kind][1]
    status = ask.main(line_of(broken, held_out, "--out", str(tmp_path / "a.png")))
    out, err = capsys.readouterr()
    if reason is None:
        assert status == 0
        assert "action: wait" in out
        assert ("cut: the answer has --max_tokens" in out) == (kind == "cut at the limit")
    else:
        assert status == 1
        assert err.startswith(f"infer: {broken.url}: {reason}")
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_no_verdict(kind, broken):
    broken.kind, broken.says = kind, '{"score": 1}'
    judge = Judge(
        JudgeArguments(
            judge_model="m", judge_cache_dir="", judge_timeout=1.0, judge_deadline=20.0, judge_retries=0,
        )
    )  # fmt: skip
    reason = KINDS[kind][1]
    assert judge.scores([("a", "b")]) == [None if reason else 1.0]
    assert judge.take_counts().reasons == ({reason: 1} if reason else {})


HALF = (
    '<think>{"a": "\\ud800"}</think><answer>{"action_type": "\\ud800", "action_parameter": {"\\ud800": "\\ud800"}, '
    '"action_description": "\\ud800"}</answer>'
)


@pytest.mark.parametrize("says", [HALF, HALF.replace("\\ud800", "type", 2), "a\ud800b", "\x00\x1b[31m"])
def test_half_a_surrogate_pair_ends_nothing(says, broken, held_out, tmp_path, capsys):
    """One in a model's answer could be printed, written or sent nowhere."""
    broken.kind, broken.says = "as usual", says
    assert ask.main(line_of(broken, held_out, "--out", str(tmp_path / "a.png"))) == 0
    capsys.readouterr().out.encode()
    assert score.main(line_of(broken, held_out, "--out", str(tmp_path / "score"), "--limit", "1")) == 0
    described(says, parse_action(says)).encode()
    assert whole_text("a\ud800b\udc00\U0001f600") == "a\ufffdb\ufffd\U0001f600"


@pytest.mark.parametrize(("kind", "reason"), [("status 429", "HTTP 429"), ("slow drip", "timeout: no whole reply")])
def test_each_try_has_its_time(kind, reason, broken, held_out, tmp_path, capsys):
    """What a server asks to wait (`Retry-After`: 1 s) is no part of it; a reply that drips is tried again."""
    broken.kind = kind
    assert (
        ask.main(line_of(broken, held_out, "--out", str(tmp_path / "a.png"), "--timeout", "0.5", "--retries", "1")) == 1
    )
    assert capsys.readouterr().err.startswith(f"infer: {broken.url}: {reason}")
    assert len(broken.requests) == 2


def test_a_judge_that_reasons_is_read_alike(broken):
    judge = Judge(JudgeArguments(judge_model="m", judge_cache_dir="", judge_retries=0))
    broken.says = '<think>{"score": 0}</think>{"score": 1}'
    for kind in ("as usual", "all of it reasoning"):
        broken.kind = kind
        assert judge.scores([("a", kind)]) == [1.0]
    broken.says, broken.kind = "<think>The answer", "cut at the limit"
    assert judge.scores([("a", "b")]) == [None]
    assert judge.take_counts().reasons == {judging.CUT: 1}


@pytest.mark.parametrize(
    "models",
    [{"status": 404}, body({"error": {"message": "no"}}), body(b"<html>"), body({"data": None}), body([]),
     body({"data": [1, {}]}), body(b"[" * 200_000)],
)  # fmt: skip
def test_no_list_of_models_is_none_of_a_named_models_business(models, broken, held_out, tmp_path, capsys):
    broken.kind, broken.models = "as usual", models
    line = line_of(broken, held_out, "--out", str(tmp_path / "a.png"))
    assert ask.main(line) == 0
    del line[2:4]  # --name m
    capsys.readouterr()
    assert ask.main(line) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith("lists no model (transformers serve does not): give --name (NAME=), the folder that it serves")


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://127.0.0.1:9"])
def test_a_server_on_this_machine_is_asked_without_a_proxy(name, proxy, broken, held_out, tmp_path, monkeypatch):
    monkeypatch.setenv(name, proxy)
    broken.kind = "as usual"
    assert ask.main(line_of(broken, held_out, "--out", str(tmp_path / "a.png"))) == 0
    broken.says = '{"score": 1}'
    assert Judge(JudgeArguments(judge_model="m", judge_cache_dir="")).scores([("a", "b")]) == [1.0]


def test_a_proxy_that_cannot_be_used_is_said(held_out, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    line = ["--url", "http://example.com/v1", "--name", "m", "--data", str(held_out), "--images", HELD_OUT_TASKS]
    assert ask.main([*line, "--out", str(tmp_path / "a.png")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("infer: http://example.com/v1: a proxy of the environment cannot be used (see NO_PROXY): ")


def test_a_server_that_is_gone_is_not_asked_for_ever(broken, held_out, tmp_path, capsys):
    broken.kind = "closed without a word"
    line = line_of(broken, held_out, "--out", str(tmp_path), "--limit", "60", "--concurrency", "2")
    assert score.main(line) == 3
    assert "no row has an answer" in capsys.readouterr().err
    assert len(broken.requests) <= 16 + 2
