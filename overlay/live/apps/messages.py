"""Messages: chats with people."""

from overlay.live.apps.tasks import GONE, Draw, More, State, Task
from overlay.live.apps.words import NAMES, TEXTS

TITLE = "Messages|消息"


def start(d: Draw) -> State:
    """Seven to ten chats, the last of which lie below the fold."""
    return {"chats": [
        {
            "name": name, "muted": d.coin(), "pinned": d.coin(), "unread": d.coin(), "blocked": False,
            "lines": [
                {"me": d.coin(), "text": text, "starred": False} for text in d.some(TEXTS, d.rng.randint(1, 3))
            ],
        }
        for name in d.some(NAMES, d.rng.randint(7, 10))
    ]}  # fmt: skip


def _mine(text: str) -> More:
    return More({"me": True, "text": text, "starred": False})


def _sending(i: int, text: str) -> list[str]:
    return [f"go:chat:{i}", "focus:ui.draft", f"type:{text}", f"send:{i}"]


def send(d: Draw, s: State) -> Task:
    i, text = d.pick(s["chats"]), d.one(TEXTS)
    wants = {f"chats.{i}.lines": _mine(text)}
    return d.task("Send {} the message “{}”|给{}发送消息“{}”", [s["chats"][i]["name"], text], _sending(i, text), wants)


def send_to_two(d: Draw, s: State) -> Task:
    (i, j), text = d.two(s["chats"]), d.one(TEXTS)
    wants = {f"chats.{n}.lines": _mine(text) for n in (i, j)}
    names = [s["chats"][n]["name"] for n in (i, j)]
    steps = [*_sending(i, text), "back", *_sending(j, text)]
    return d.task("Send both {} and {} the message “{}”|给{}和{}都发送消息“{}”", [*names, text], steps, wants)


def pass_on(d: Draw, s: State) -> Task:
    """What is to be written has to be read first."""
    i, j = d.two(s["chats"])
    text, names = s["chats"][i]["lines"][-1]["text"], [s["chats"][n]["name"] for n in (i, j)]
    steps, wants = _sending(j, text), {f"chats.{j}.lines": _mine(text)}
    return d.task("Send the last message of the chat with {} to {}|把与{}聊天的最后一条消息发给{}", names, steps, wants)


def answer_unread(d: Draw, s: State) -> Task:
    for chat in s["chats"]:
        chat["unread"] = False
    i, text = d.pick(s["chats"], unread=True), d.one(TEXTS)
    wants = {f"chats.{i}.lines": _mine(text)}
    return d.task(
        "Answer “{}” in the one unread chat (●)|在唯一的未读聊天（●）里回复“{}”", [text], _sending(i, text), wants
    )


def _switch(d: Draw, s: State, flag: str, to: bool, pair: str) -> Task:
    i = d.pick(s["chats"], **{flag: not to})
    steps = [f"go:chat:{i}", f"go:more:{i}", f"flip:chats.{i}.{flag}"]
    return d.task(pair, [s["chats"][i]["name"]], steps, {f"chats.{i}.{flag}": to})


def mute(d: Draw, s: State) -> Task:
    return _switch(d, s, "muted", True, "Mute the chat with {}|把与{}的聊天设为免打扰")


def unmute(d: Draw, s: State) -> Task:
    return _switch(d, s, "muted", False, "Unmute the chat with {}|取消与{}聊天的免打扰")


def pin(d: Draw, s: State) -> Task:
    return _switch(d, s, "pinned", True, "Pin the chat with {} to the top|把与{}的聊天置顶")


def mark_read(d: Draw, s: State) -> Task:
    return _switch(d, s, "unread", False, "Mark the chat with {} as read|把与{}的聊天标为已读")


def block(d: Draw, s: State) -> Task:
    return _switch(d, s, "blocked", True, "Block {}|拉黑{}")


def delete_chat(d: Draw, s: State) -> Task:
    i = d.pick(s["chats"])
    steps = [f"go:chat:{i}", f"go:more:{i}", f"ask:del:chats.{i}", f"del:chats.{i}"]
    return d.task("Delete the chat with {}|删除与{}的聊天", [s["chats"][i]["name"]], steps, {f"chats.{i}": GONE})


def star(d: Draw, s: State) -> Task:
    i = d.pick(s["chats"])
    lines = s["chats"][i]["lines"]
    n = d.pick(lines)
    steps = [f"go:chat:{i}", f"hold:go:line:{i}.lines.{n}", f"flip:chats.{i}.lines.{n}.starred"]
    wants = {f"chats.{i}.lines.{n}.starred": True}
    said = [lines[n]["text"], s["chats"][i]["name"]]
    return d.task("Star the message “{}” in the chat with {}|收藏消息“{}”，它在与{}的聊天里", said, steps, wants)


def delete_message(d: Draw, s: State) -> Task:
    i = d.pick(s["chats"])
    lines = s["chats"][i]["lines"]
    n = d.pick(lines)
    line = f"chats.{i}.lines.{n}"
    steps = [f"go:chat:{i}", f"hold:go:line:{i}.lines.{n}", f"ask:drop:{line}", f"drop:{line}"]
    said = [lines[n]["text"], s["chats"][i]["name"]]
    return d.task(
        "Delete the message “{}” in the chat with {}|删除消息“{}”，它在与{}的聊天里", said, steps, {line: GONE}
    )


def nobody(d: Draw, s: State) -> Task:
    name, text = d.one(NAMES, [chat["name"] for chat in s["chats"]]), d.one(TEXTS)
    return d.task("Send {} the message “{}”|给{}发送消息“{}”", [name, text], [])


TEMPLATES = (
    send, send_to_two, pass_on, answer_unread, mute, unmute, pin, mark_read, block, delete_chat, star, delete_message,
    nobody,
)  # fmt: skip
