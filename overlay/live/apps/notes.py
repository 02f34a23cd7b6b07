"""Notes with items to tick."""

from overlay.live.apps.tasks import GONE, Draw, More, State, Task
from overlay.live.apps.words import TEXTS, THINGS, TOPICS

TITLE = "Notes|笔记"
COLOURS = ("red|红色", "green|绿色", "blue|蓝色", "none|无")


def _note(title: str, text: str, pinned: bool, colour: str, tasks: list[State]) -> State:
    return {"title": title, "text": text, "pinned": pinned, "colour": colour, "tasks": tasks}


def start(d: Draw) -> State:
    """Six to nine notes, two in the archive."""
    titles = d.some(TOPICS, d.rng.randint(8, 11))
    notes = [
        _note(title, d.one(TEXTS), d.coin(), d.rng.choice(COLOURS), [
            {"text": thing, "done": d.coin()} for thing in d.some(THINGS, d.rng.randint(2, 3))
        ])
        for title in titles
    ]  # fmt: skip
    return {"notes": notes[2:], "archive": notes[:2]}


def _title(s: State, i: int) -> str:
    return s["notes"][i]["title"]


def new(d: Draw, s: State) -> Task:
    i, title = len(s["notes"]), d.one(TOPICS, [note["title"] for note in s["notes"] + s["archive"]])
    steps = ["new", f"focus:notes.{i}.title", f"type:{title}"]
    wants = {"notes": More(_note(title, "", False, "none|无", []))}
    return d.task("Make a note with the title “{}”|新建标题为“{}”的笔记", [title], steps, wants)


def new_with_text(d: Draw, s: State) -> Task:
    i, title = len(s["notes"]), d.one(TOPICS, [note["title"] for note in s["notes"] + s["archive"]])
    text = d.one(TEXTS)
    steps = ["new", f"focus:notes.{i}.title", f"type:{title}", f"focus:notes.{i}.text", f"type:{text}"]
    wants = {"notes": More(_note(title, text, False, "none|无", []))}
    return d.task("Make a note “{}” that says “{}”|新建笔记“{}”，正文是“{}”", [title, text], steps, wants)


def retitle(d: Draw, s: State) -> Task:
    i, title = d.pick(s["notes"]), d.one(THINGS)
    path = f"notes.{i}.title"
    steps = [f"go:note:{i}", f"clear:{path}", f"type:{title}"]
    return d.task(
        "Change the title of the note “{}” to “{}”|把笔记“{}”的标题改为“{}”",
        [_title(s, i), title],
        steps,
        {path: title},
    )


def append(d: Draw, s: State) -> Task:
    """What is typed comes after what is there."""
    i, sign = d.pick(s["notes"]), d.one(("!", "?", "..."))
    path = f"notes.{i}.text"
    steps = [f"go:note:{i}", f"focus:{path}", f"type:{sign}"]
    wants = {path: s["notes"][i]["text"] + sign}
    return d.task(
        "Add “{1}” to the end of the text of “{0}”|在笔记“{}”的正文末尾加上“{}”", [_title(s, i), sign], steps, wants
    )


def rewrite(d: Draw, s: State) -> Task:
    i = d.pick(s["notes"])
    text, path = d.one(TEXTS, [s["notes"][i]["text"]]), f"notes.{i}.text"
    steps = [f"go:note:{i}", f"clear:{path}", f"type:{text}"]
    return d.task(
        "Replace the text of the note “{}” by “{}”|把笔记“{}”的正文换成“{}”", [_title(s, i), text], steps, {path: text}
    )


def pin(d: Draw, s: State) -> Task:
    i = d.pick(s["notes"], pinned=False)
    path = f"notes.{i}.pinned"
    return d.task("Pin the note “{}”|置顶笔记“{}”", [_title(s, i)], [f"go:note:{i}", f"flip:{path}"], {path: True})


def colour(d: Draw, s: State) -> Task:
    i = d.pick(s["notes"])
    pair = d.rng.choice([each for each in COLOURS[:3] if each != s["notes"][i]["colour"]])
    path = f"notes.{i}.colour"
    steps = [f"go:note:{i}", f"go:colour:{i}", f'set:{path}:"{pair}"']
    return d.task("Give the note “{}” the colour {}|把笔记“{}”的颜色设为{}", [_title(s, i), pair], steps, {path: pair})


def tick(d: Draw, s: State) -> Task:
    i = d.pick(s["notes"])
    n = d.pick(s["notes"][i]["tasks"], done=False)
    path, said = f"notes.{i}.tasks.{n}.done", [s["notes"][i]["tasks"][n]["text"], _title(s, i)]
    return d.task(
        "Tick “{}” in the note “{}”|勾选“{}”，它在笔记“{}”里", said, [f"go:note:{i}", f"flip:{path}"], {path: True}
    )


def tick_all(d: Draw, s: State) -> Task:
    i = d.pick(s["notes"])
    d.pick(s["notes"][i]["tasks"], done=False)
    paths = [f"notes.{i}.tasks.{n}.done" for n, one in enumerate(s["notes"][i]["tasks"]) if not one["done"]]
    steps = [f"go:note:{i}", *(f"flip:{path}" for path in paths)]
    return d.task(
        "Have every item of the note “{}” ticked|让笔记“{}”里的事项全部勾选",
        [_title(s, i)],
        steps,
        dict.fromkeys(paths, True),
    )


def item(d: Draw, s: State) -> Task:
    i = d.pick(s["notes"])
    text = d.one(THINGS, [one["text"] for one in s["notes"][i]["tasks"]])
    steps = [f"go:note:{i}", f"go:item:{i}", "focus:ui.draft", f"type:{text}", f"item:{i}"]
    wants = {f"notes.{i}.tasks": More({"text": text, "done": False})}
    return d.task("Add the item “{1}” to the note “{0}”|给笔记“{}”添加事项“{}”", [_title(s, i), text], steps, wants)


def delete(d: Draw, s: State) -> Task:
    i = d.pick(s["notes"])
    steps = [f"go:note:{i}", f"ask:del:notes.{i}", f"del:notes.{i}"]
    return d.task("Delete the note “{}”|删除笔记“{}”", [_title(s, i)], steps, {f"notes.{i}": GONE})


def store(d: Draw, s: State) -> Task:
    i = d.pick(s["notes"])
    wants = {f"notes.{i}": GONE, "archive": More(s["notes"][i])}
    return d.task("Archive the note “{}”|归档笔记“{}”", [_title(s, i)], [f"go:note:{i}", f"store:{i}"], wants)


def no_item(d: Draw, s: State) -> Task:
    i = d.pick(s["notes"])
    text = d.one(THINGS, [one["text"] for one in s["notes"][i]["tasks"]])
    return d.task("Tick “{}” in the note “{}”|勾选“{}”，它在笔记“{}”里", [text, _title(s, i)], [f"go:note:{i}"])


TEMPLATES = (
    new, new_with_text, retitle, append, rewrite, pin, colour, tick, tick_all, item, delete, store, no_item,
)  # fmt: skip
