"""Whether ranks run the vision tower together: where its weights are cut up they have to."""

from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType

from overlay.training.shared_passes import SharedPasses
from tests.families import make


@pytest.mark.parametrize(
    ("kind", "runs"), [(DistributedType.NO, False), (DistributedType.MULTI_GPU, False), (DistributedType.FSDP, True)]
)
def test_a_rank_without_images_runs_the_tower_where_another_has_new_ones(kind, runs):
    """This rank's rows are text only; the other one's images are new."""
    accelerator = SimpleNamespace(
        unwrap_model=lambda model: model, device="cpu", distributed_type=kind,
        gather=lambda told: torch.cat([told, torch.tensor([False])]),
    )  # fmt: skip
    model = make("qwen2_5_vl").requires_grad_(False)
    shared = SharedPasses(model, None, accelerator, wanted=True)
    with shared.features.inputs(None, None) as given:
        assert ("mm_encoder_outputs" in given) != runs  # in its place the blank image of `overlay.model.vision`
