"""Android's accessibility trees as AndroidControl stores them: android_env's AndroidAccessibilityForest, a protocol
buffer of which only the fields that are read here are declared (numbers from android_env/proto/a11y)."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from overlay.action.action import Box

_MESSAGES = {
    "Rect": {"left": (1, "int32"), "top": (2, "int32"), "right": (3, "int32"), "bottom": (4, "int32")},
    "Node": {
        "bounds": (2, "Rect"), "description": (4, "string"), "checkable": (12, "bool"), "clickable": (14, "bool"),
        "editable": (15, "bool"), "long_clickable": (19, "bool"), "visible": (23, "bool"),
    },
    "Tree": {"nodes": (1, "[Node]")},
    "Window": {"layer": (4, "int32"), "tree": (11, "Tree")},
    "Forest": {"windows": (1, "[Window]")},
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A visible element: its box in pixels of the screen, the layer of its window (higher is in front), whether it
    takes a finger, and its content description."""

    box: Box
    layer: int
    touchable: bool
    description: str = ""


@cache
def _forest() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    package = "overlay.accessibility"
    file = descriptor_pb2.FileDescriptorProto(name="overlay/accessibility.proto", package=package, syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    plain = {"int32": field.TYPE_INT32, "bool": field.TYPE_BOOL, "string": field.TYPE_STRING}
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for called, (number, kind) in fields.items():
            label = field.LABEL_REPEATED if kind.startswith("[") else field.LABEL_OPTIONAL
            added = message.field.add(name=called, number=number, label=label)
            if kind in plain:
                added.type = plain[kind]
            else:
                added.type, added.type_name = field.TYPE_MESSAGE, f".{package}.{kind.strip('[]')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Forest"))


def nodes(tree: bytes) -> list[Node]:
    """The visible elements of a forest. Raises ValueError for bytes that are none."""
    from google.protobuf.message import DecodeError

    try:
        forest = _forest().FromString(tree)
    except DecodeError as error:
        raise ValueError(f"no accessibility forest: {error}") from error
    return [
        Node(
            (node.bounds.left, node.bounds.top, node.bounds.right, node.bounds.bottom),
            window.layer,
            node.clickable or node.long_clickable or node.checkable or node.editable,
            node.description,
        )
        for window in forest.windows
        for node in window.tree.nodes
        if node.visible and node.bounds.left < node.bounds.right and node.bounds.top < node.bounds.bottom
    ]
