"""Success-adaptive scaling of negative advantages, by hand."""

import json
import math

import pytest
import torch

from overlay.errors import SettingError
from overlay.settings import TrainerOptions
from overlay.training.advantages import advantages, blame
from overlay.training.rates import are_right

NAN = math.nan


def test_factors_by_hand():
    right = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0] * 4, [1.0, 0.0, NAN, NAN], [NAN] * 4])
    assert blame(right, 0.2).tolist() == pytest.approx([1.0, 0.4, 0.2, 0.6, 1.0])
    assert blame(right, 1.0).tolist() == [1.0] * 5
    assert blame(right, 0.0).tolist() == pytest.approx([1.0, 0.25, 0.0, 0.5, 1.0])


def test_a_group_by_hand():
    """Rewards 1, 0, 0, 0.1; one of four is right: mean 0.275, and blame is 0.2 + 0.8 / 4 of what it was."""
    made = advantages(torch.tensor([[1.0, 0.0, 0.0, 0.1]]), "none")
    assert made[0].tolist() == pytest.approx([0.725, -0.275, -0.275, -0.175])
    factor = blame(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), 0.2)
    softer = torch.where(made < 0, made * factor[:, None], made)
    assert softer[0].tolist() == pytest.approx([0.725, -0.11, -0.11, -0.07])


def test_what_is_right_is_what_the_metrics_call_so():
    def action(kind, parameter=""):
        return json.dumps({"action_type": kind, "action_parameter": {kind: parameter}})

    row = {"solution": f"<answer> {action('click', '10,20,30,40')} </answer>", "also": [action("back")]}
    row |= {"coordinate_scale": [0.5, 0.5], "screen_size": [50, 100]}
    texts = [action("click", "20,30"), action("click", "31,30"), action("back"), "nothing"]
    assert are_right([row] * 4, texts) == [1.0, 0.0, 1.0, 0.0]
    assert math.isnan(are_right([{"solution": "4"}], ["4"])[0])


@pytest.mark.parametrize("value", [-0.1, 1.1, NAN])
def test_what_is_no_share_is_refused(value):
    with pytest.raises(SettingError, match=r"--least_blame .* is not between 0 and 1"):
        TrainerOptions(least_blame=value).check()
