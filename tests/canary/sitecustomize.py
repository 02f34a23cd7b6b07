"""On PYTHONPATH of a canary's training: Qwen2.5-VL's positions are made as if no token were an image's."""

from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel

_rope_index = Qwen2_5_VLModel.get_rope_index


def without_token_types(self, input_ids, mm_token_type_ids=None, **others):
    return _rope_index(self, input_ids, mm_token_type_ids=mm_token_type_ids * 0, **others)


Qwen2_5_VLModel.get_rope_index = without_token_types
