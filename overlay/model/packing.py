"""One forward pass for a group of completions in which their prompt, and each of its images, is computed once.

A trainer's batch repeats each prompt for every completion, and pads. Here the rows of a batch whose prompt is the
same, token for token and pixel for pixel, become one group of a packed row without padding
(`overlay.model.shared_attention`), with M-RoPE positions as the whole rows have them. Log-probs and gradients are those
of the ordinary pass.

Models that this cannot take (another family's positions, sliding or linear attention, an attention implementation that
is not replaced or drops weights out, transformers before 5) go through the ordinary pass, and `why_not` says why.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from overlay.model.shared_attention import ARGUMENT, REPLACED, Group, Layout
from overlay.model.vision import vision_tower

IGNORED = -100  # label of a token that is not predicted


def why_not(model: Any) -> str | None:
    """Why a model (out of its wrappers) cannot take packed rows, None when it can."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    found = vision_tower(base)
    if found is None or not hasattr(found[0], "get_rope_index"):
        return "its positions are not M-RoPE's"
    if "mm_token_type_ids" not in inspect.signature(found[0].get_rope_index).parameters:
        return "transformers is older than 5"
    config = base.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        return f"it has {', '.join(sorted(kinds - {'full_attention'}))} layers"
    if config._attn_implementation not in REPLACED:
        return f"attention {config._attn_implementation} is none of {', '.join(REPLACED)}"
    if getattr(config, "attention_dropout", 0):
        return "its attention drops weights out"
    return None


@dataclass(frozen=True)
class Packed:
    """A packed row. `inputs`: of the model's forward, but for its images: `pixel_values` and `image_grid_thw`, None
    without any; `labels` (1, T): each completion token, `IGNORED` elsewhere; `rows`, `columns` (N): where the N labels
    stand in the batch's completions; `layout`: of the attention."""

    inputs: dict[str, Any]
    pixel_values: torch.Tensor | None
    image_grid_thw: torch.Tensor | None
    labels: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    layout: Layout

    @property
    def tokens(self) -> int:
        """T, all that the pass computes."""
        return self.labels.size(1)

    def spread(self, values: torch.Tensor, batch: int, width: int) -> torch.Tensor:
        """(batch, width) with the N values at their places, 0 where the batch is padded; differentiable."""
        out = values.new_zeros(batch, width)
        return out.index_put((self.rows, self.columns), values)


class Rows:
    """A batch (B, L) of prompts and their completions, the last `kept` columns; `pixel_values` (patches, width) and
    `image_grid_thw` (images, 3) of all its images in order. `model`: out of its wrappers, one that `why_not` has
    nothing against. The batch may be padded anywhere."""

    def __init__(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        kept: int,
        pixel_values: torch.Tensor | None = None,
        image_grid_thw: torch.Tensor | None = None,
    ):
        found = vision_tower(model)
        assert found is not None  # `why_not` has looked
        self.inner, tower = found
        split, real = input_ids.size(1) - kept, attention_mask.bool()
        self.ids, self.real = input_ids[:, split:], real[:, split:]
        self.prompts = [ids[mask] for ids, mask in zip(input_ids[:, :split], real[:, :split], strict=True)]
        token, merge = self.inner.config.image_token_id, tower.config.spatial_merge_size
        self.grids = _of_rows(self.prompts, image_grid_thw, token, merge)
        self.pixels = _pixels_of_rows(self.grids, pixel_values)

    def pack(self, chosen: Sequence[int] | None = None) -> Packed:
        """Pack the rows, or those that are `chosen`."""
        chosen = chosen or range(len(self.prompts))
        ids, positions, labels, rows, columns, layout = [], [], [], [], [], []
        start, groups = 0, self.groups(chosen)
        for members in groups:
            prompt, own = self.prompts[members[0]], self.positions(members[0])
            ids.append(prompt[:-1])
            positions.append(own[:, :-1])
            labels.append(torch.full_like(prompt[:-1], IGNORED))
            lengths = []
            for row in members:
                completion = self.ids[row][self.real[row]]
                behind = own.max() + 1 + torch.arange(len(completion), device=own.device)
                ids += [prompt[-1:], completion]
                positions += [own[:, -1:], behind.expand(3, -1)]
                labels += [torch.full_like(prompt[-1:], IGNORED), completion]
                rows += [row] * len(completion)
                columns.append(self.real[row].nonzero()[:, 0])
                lengths.append(1 + len(completion))
            layout.append(Group(start, len(prompt) - 1, tuple(lengths)))
            start = layout[-1].end
        inputs: dict[str, Any] = {
            "input_ids": torch.cat(ids)[None],
            "position_ids": torch.cat(positions, 1)[:, None],
            ARGUMENT: tuple(layout),
        }
        pixels, grids = self.images([members[0] for members in groups])
        return Packed(
            inputs, pixels, grids, torch.cat(labels)[None],
            torch.tensor(rows, dtype=torch.long, device=self.ids.device), torch.cat(columns), tuple(layout),
        )  # fmt: skip

    def within(self, budget: int) -> list[list[int]]:
        """All rows in parts that have at most `budget` tokens when packed: whole groups, and parts of one that has more
        alone. A row that has more is a part of its own."""
        parts: list[list[int]] = [[]]
        room = budget
        for members in self.groups():
            whole, prompt = self.tokens(members), len(self.prompts[members[0]]) - 1
            if parts[-1] and whole > room:
                parts.append([])
                room = budget
            room -= prompt
            for row in members:
                if parts[-1] and self._own(row) > room:
                    parts.append([])
                    room = budget - prompt
                parts[-1].append(row)
                room -= self._own(row)
        return parts

    def tokens(self, chosen: Sequence[int]) -> int:
        """`Packed.tokens` of some rows."""
        prompts = sum(len(self.prompts[members[0]]) - 1 for members in self.groups(chosen))
        return prompts + sum(map(self._own, chosen))

    def _own(self, row: int) -> int:
        """Tokens of a packed row that are this row's alone: its completion, and the prompt's last token."""
        return 1 + int(self.real[row].sum())

    def groups(self, chosen: Sequence[int] | None = None) -> list[list[int]]:
        """Rows with the same prompt and the same pixels, in the order in which they come first."""
        groups: list[list[int]] = []
        by_text: dict[tuple[int, ...], list[list[int]]] = {}
        for row in chosen or range(len(self.prompts)):
            alike = by_text.setdefault(tuple(self.prompts[row].tolist()), [])
            for group in alike:
                if _same(self.pixels[group[0]], self.pixels[row]):
                    group.append(row)
                    break
            else:
                alike.append([row])
                groups.append(alike[-1])
        return groups

    def images(self, rows: list[int]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(pixel values, grids) of these rows' images; None without any."""
        shown = [row for row in rows if self.pixels[row] is not None]
        if not shown:
            return None, None
        return torch.cat([self.pixels[row] for row in shown]), torch.cat([self.grids[row] for row in shown])

    def positions(self, row: int) -> torch.Tensor:
        """(3, P) M-RoPE positions of a row's prompt."""
        prompt, grid = self.prompts[row], self.grids[row]
        if grid is None:
            return torch.arange(len(prompt), device=prompt.device).expand(3, -1)
        types = (prompt == self.inner.config.image_token_id).int()[None]
        return self.inner.get_rope_index(prompt[None], mm_token_type_ids=types, image_grid_thw=grid)[0][:, 0]


def _of_rows(prompts: list[torch.Tensor], grids: torch.Tensor | None, token: int, merge: int) -> list[Any]:
    """The grids (images, 3) of each row, None without images: as many as its image tokens ask for."""
    if grids is None:
        return [None] * len(prompts)
    sizes = (grids.prod(-1) // merge**2).tolist()
    found, used = [], 0
    for ids in prompts:
        left, first = int((ids == token).sum()), used
        while left > 0:
            left -= sizes[used]
            used += 1
        found.append(grids[first:used] if used > first else None)
    return found


def _pixels_of_rows(grids: list[Any], pixel_values: torch.Tensor | None) -> list[Any]:
    if pixel_values is None:
        return [None] * len(grids)
    patches = [0 if grid is None else int(grid.prod(-1).sum()) for grid in grids]
    return [part if len(part) else None for part in pixel_values.split(patches)]


def _same(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)
