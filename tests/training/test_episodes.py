"""Episodes by hand: what is asked, what a step is worth, what a batch holds."""

import json
from types import SimpleNamespace

import pytest
import torch

from overlay.errors import SettingError
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import step_input
from overlay.settings import TrainerOptions
from overlay.training.backend import Answer
from overlay.training.episodes import Episodes
from overlay.training.recorder import Recorder
from overlay.training.returns import Steps, returns
from overlay.training.sampler import EpisodeSampler
from overlay.training.semi_online import Recordings, check_sizes, stretches

NAN = float("nan")


def answer(kind, said):
    record = {"action_type": kind, "action_parameter": {kind: ""}, "action_description": said}
    return f"<answer>{json.dumps(record)}</answer>"


def row(task, step):
    """A recorded step, whose right answer is to wait."""
    fields = {"task_content": task, "history_path_all": [f"gold {n}" for n in range(1, step)]}
    problem = "template\n" + json.dumps(fields)
    return {"source": f"{task}:{step}", "problem": problem, "solution": answer("wait", f"gold {step}"),
            "image_path": [], "prompt": PromptStyle().messages(problem, 0)}  # fmt: skip


def histories(rows):
    return [step_input(each["prompt"][0]["content"][0]["text"])[1]["history_path_all"] for each in rows]


class Play:
    """Two rollouts of an episode of three steps and of one of one, in batches of three steps; `answers`: what is
    answered, step by step, to (task, rollout) in order."""

    def __init__(self, patches, *answers):
        steps = [[row("a", 1), row("a", 2), row("a", 3)], [row("b", 1)] * 3]
        self.rows = [steps[p][t] for p in range(2) for t in range(3) for _ in range(2)]
        options = SimpleNamespace(episode_steps=3, episode_discount=0.5, episode_weight=1.0, scale_rewards="none")
        world = Recordings([], PromptStyle(), 3, patches)
        self.episodes = Episodes(world, options, 2, lambda values: values)
        self.left, self.asked = iter(answers), []
        self.played = self.episodes.play(self.rows, self.ask)

    def ask(self, rows):
        self.asked.append([(each["source"], history) for each, history in zip(rows, histories(rows), strict=True)])
        texts = [answer(*said) for said in next(self.left)]
        return [Answer([number], None) for number in range(len(texts))], texts


def test_right_answers_become_the_history_and_wrong_ones_are_patched():
    """The first rollout of a is right twice in its own words; the second misses once, and goes on in recorded words."""
    play = Play(
        1,
        [("wait", "mine"), ("back", "lost"), ("wait", "b0"), ("back", "b1")],
        [("wait", "mine too"), ("wait", "yours")],
        [("wait", ""), ("back", "lost")],
    )
    assert play.asked == [
        [("a:1", []), ("a:1", []), ("b:1", []), ("b:1", [])],
        [("a:2", ["mine"]), ("a:2", ["gold 1"])],
        [("a:3", ["mine", "mine too"]), ("a:3", ["gold 1", "yours"])],
    ]
    assert play.played.reached == [True] * 6 + [True, True, False, False, False, False]
    assert play.played.right == [True, False, True, True, True, False] + [True, False] + [False] * 4
    # Slots that are not reached hold the rollout's last step again.
    assert [each["source"] for each in play.played.rows[6:]] == ["b:1"] * 6
    assert [each.ids for each in play.played.answers[6:]] == [[2], [3]] * 3


def test_marks_in_a_models_own_words_end_nothing():
    """`<image>` in them would be one image more than the step has."""
    play = Play(
        0,
        [("wait", "tap the <image> button"), ("wait", "<|image_pad|>"), ("wait", ""), ("wait", "")],
        [("back", ""), ("back", "")],
    )
    assert play.asked[1] == [("a:2", ["tap the (image) button"]), ("a:2", ["(image_pad)"])]


def test_an_episode_ends_with_the_miss_after_the_last_patch():
    play = Play(0, [("wait", "1"), ("back", ""), ("wait", ""), ("wait", "")], [("back", "")])
    assert play.asked[1] == [("a:2", ["1"])]
    assert len(play.asked) == 2  # nobody is left after that
    assert play.played.reached == [True] * 3 + [False] * 3 + [True] * 2 + [False] * 4
    rewards = torch.tensor([1.0, 0.2, 0.3, NAN, NAN, NAN, 1.0, 1.0, NAN, NAN, NAN, NAN])
    advantages, metrics = play.episodes.advantages(play.played, rewards, rewards)
    # Returns at step 1 of a: 1 (a miss hands nothing back) and 0.2; whole rollouts: 1.3 and 0.2.
    torch.testing.assert_close(advantages[:3], torch.tensor([0.4 + 0.55, -0.4 - 0.55, 0 + 0.55]))
    assert advantages[3:].abs().max() == 0
    assert 0 < metrics.pop("episodes/world_share") < 0.5
    assert metrics == pytest.approx(
        {"episodes/steps": 5 / 4, "episodes/progress": (1 / 3 + 0 + 1 + 1) / 4, "episodes/success": 0.5,
         "episodes/lost": 0, "episodes/return": (1 + 0.2 + 1 + 1) / 4}
    )  # fmt: skip


def test_a_rank_with_one_row_asks_as_the_others_do():
    """Under ZeRO-3 a rank that shares a prefill and one that does not would wait for each other."""
    steps, asked = [row("a", 1), row("a", 2)], []

    def ask(rows):
        asked.append([each["source"] for each in rows])
        return [Answer([1], None)] * len(rows), [answer("wait", ""), answer("back", "")][: len(rows)]

    options = SimpleNamespace(episode_steps=2, episode_discount=0.5, episode_weight=1.0, scale_rewards="none")
    for ranks, second in ((1, ["a:2"]), (2, ["a:2", "a:2"])):
        asked.clear()
        gather = lambda values, ranks=ranks: torch.cat([values] * ranks)  # noqa: E731
        played = Episodes(Recordings([], PromptStyle(), 2, 0), options, 2, gather).play(
            [steps[0], steps[0], steps[1], steps[1]], ask
        )
        assert asked == [["a:1", "a:1"], second]
        assert played.reached == [True, True, True, False]


def test_returns_by_hand():
    """One episode, four steps, two rollouts: right all along, and one that misses the second step (UI-S1's form)."""
    rewards = torch.tensor([[[1.0, 1.0], [1.0, 0.4], [1.0, 1.0], [1.0, 0.0]]])
    right = torch.tensor([[[True, True], [True, False], [True, True], [True, False]]])
    found = returns(rewards, right, 0.5)
    assert found[0, :, 0].tolist() == [1.875, 1.75, 1.5, 1.0]
    assert found[0, :, 1].tolist() == pytest.approx([1.0, 0.4, 1.0, 0.0])


def steps(rewards, right=None, reached=None, states=None, alone=None):
    """One episode's steps (T, G), each step its own state."""
    every = torch.ones_like(rewards, dtype=torch.bool)
    numbers = torch.arange(len(rewards))[:, None].expand_as(rewards) if states is None else torch.tensor(states)
    parts = (rewards, torch.zeros_like(rewards) if alone is None else alone, reached, right, numbers)
    return Steps(*((every if part is None else part)[None] for part in parts))


def test_advantages_by_hand():
    rewards = torch.tensor([[1.0, 0.0, 1.0], [1.0, NAN, 0.0]])
    right = torch.tensor([[True, False, True], [True, False, False]])
    reached = torch.tensor([[True, True, True], [True, False, True]])
    worth, whole = torch.tensor([1.5, 0.0, 1.0]), torch.tensor([2.0, 0.0, 1.0])
    centred = torch.stack([worth - 2.5 / 3, torch.tensor([0.5, 0.0, -0.5])])
    found = steps(rewards, right, reached).advantages(0.5, 2.0, "none")
    torch.testing.assert_close(found[0], torch.where(reached, centred + 2 * (whole - 1), 0.0))
    alone = steps(rewards, right, reached).advantages(0.0, 0.0, "group")  # then it is a step's own group
    torch.testing.assert_close(alone[0, 0], (rewards[0] - 2 / 3) / (rewards[0].std() + 1e-4))


def test_steps_are_compared_in_the_same_state():
    """The second rollout stays on the first screen for two steps, and then sees what the first saw as its second."""
    rewards = torch.tensor([[0.0, 0.0], [1.0, 0.0], [NAN, 0.0]])
    reached, states = ~rewards.isnan(), [[0, 0], [1, 0], [0, 1]]
    found = steps(rewards, None, reached, states).advantages(0.5, 0.0, "none")
    torch.testing.assert_close(found[0], torch.tensor([[1 / 3, -1 / 6], [0.5, -1 / 6], [0.0, -0.5]]))


def test_what_is_a_steps_alone_is_not_handed_on():
    page, style = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    found = steps(page, alone=style).advantages(0.5, 1.0, "none")
    torch.testing.assert_close(found[0], torch.tensor([[0.75 + 0.5, -0.75 - 0.5], [0.5 + 0.5, -0.5 - 0.5]]))


def test_a_missing_verdict_has_no_part_in_either():
    rewards = torch.tensor([[NAN, 0.0, 1.0], [1.0, 1.0, 1.0]])
    found = steps(rewards).advantages(0.5, 1.0, "none")[0]
    assert found[0, 0] == 0  # no reward of its own
    torch.testing.assert_close(found[:, 1:], torch.tensor([[-0.5 - 0.5, 0.5 + 0.5], [-0.5, 0.5]]))
    assert found[1, 0] == 0  # its step is as good as the others', its rollout is not known
    gone = torch.tensor([[True, True, False]] * 2)  # a rollout without steps is not one that failed
    worth = torch.tensor([[1.0, 0.0, NAN], [1.0, 0.0, NAN]])
    assert steps(worth, reached=gone).advantages(0.0, 1.0, "none")[0, 0].tolist() == [1.5, -1.5, 0]


def test_an_episode_is_drawn_step_by_step():
    theirs = SimpleNamespace(mini_repeat_count=2, batch_size=6, repeat_count=1, seed=0, shuffle=False)
    sampler = EpisodeSampler(theirs, [[3, 5], [0, 1, 2], [9], [7]], 3)
    first = [3, 3, 5, 5, 5, 5, 0, 0, 1, 1, 2, 2]
    assert list(sampler) == first + [9] * 6 + [7] * 6
    assert sampler.at(12, 6) == [9] * 6
    theirs.shuffle = True
    drawn = list(EpisodeSampler(theirs, [[3, 5], [0, 1, 2], [9], [7]], 3))
    assert sorted(drawn) == sorted(sampler)
    assert drawn != list(sampler)


def test_rewards_are_not_asked_about_what_was_not_reached():
    seen = []

    def reward(completions, solution, trainer_state):
        seen.append((completions, solution, trainer_state))
        return [1.0, None]

    recorder = Recorder([2.0])
    (asked,) = recorder.wrapped([reward])
    recorder.reached = [True, False, True]
    assert asked(completions=["a", "b", "c"], solution=[1, 2, 3], trainer_state="x") == [1.0, None, None]
    assert seen == [(["a", "c"], [1, 3], "x")]
    assert recorder.scores == {"reward": [1.0, None, None]}
    assert recorder.totals().tolist() == pytest.approx([2.0, NAN, 0.0], nan_ok=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"episodes": "online"}, "--episodes 'online' is none of no, semi-online"),
        ({"episodes": "semi-online", "patches": -1}, "--patches 0 or more"),
        ({"episodes": "semi-online", "dynamic_sampling": 2}, "not with --dynamic_sampling"),
    ],
)
def test_impossible_settings(changed, message):
    with pytest.raises(SettingError, match=message):
        TrainerOptions(**changed).check()


@pytest.mark.parametrize(
    ("options", "training", "message"),
    [
        ({"least_blame": 0.5}, {}, "not with --least_blame"),
        (
            {},
            {"multi_objective_aggregation": "normalize_then_sum"},
            "not with --multi_objective_aggregation normalize_",
        ),
        ({}, {"use_vllm": True, "vllm_mode": "server"}, "not with --vllm_mode server"),
        ({}, {"use_vllm": True, "vllm_tensor_parallel_size": 2}, "not with --vllm_tensor_parallel_size 2"),
        ({}, {"per_device_train_batch_size": 6}, "a process generates 6 completions"),
    ],
)
def test_what_episodes_do_not_go_with(options, training, message):
    sizes = {"num_generations": 2, "per_device_train_batch_size": 8, "world_size": 1} | training
    with pytest.raises(SettingError, match=message):
        check_sizes(TrainerOptions(episodes="semi-online", episode_steps=4, **options), SimpleNamespace(**sizes), 100)


def test_nothing_is_handed_on_over_a_step_that_is_missing():
    assert stretches([(7, 1), (3, 2), (9, 4), (2, 5), (5, 9)]) == [[7, 3], [9, 2], [5]]
