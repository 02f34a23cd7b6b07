"""Folders, files, and a bin."""

from overlay.live.apps.tasks import GONE, Draw, More, State, Task
from overlay.live.apps.words import THINGS, TOPICS
from overlay.live.phone.words import ICONS

TITLE = "Files|文件"
FOLDERS = ("Photos|照片", "Papers|文稿", "Letters|信件", "Drawings|图纸", "Bills|账单", "Backup|备份")


def _file(d: Draw, name: str, folder: str, size: int) -> State:
    return {"name": name, "folder": folder, "size": size, "starred": d.coin(), "sign": d.one(tuple(ICONS))}


def start(d: Draw) -> State:
    """Four folders with two or three files each, of different sizes; two files in the bin."""
    folders = d.some(FOLDERS, 4)
    places = [folder for folder in folders for _ in range(d.rng.randint(2, 3))]
    names, sizes = d.some(TOPICS, len(places)), d.rng.sample(range(10, 900), len(places) + 2)
    files = [_file(d, *each) for each in zip(names, places, sizes, strict=False)]
    binned = [_file(d, name, folders[0], size) for name, size in zip(d.some(THINGS, 2), sizes[-2:], strict=True)]
    return {"folders": folders, "files": files, "bin": binned}


def _open(s: State, i: int) -> list[str]:
    return [f"go:folder:{s['folders'].index(s['files'][i]['folder'])}", f"go:file:{i}"]


def _said(s: State, i: int) -> list[str]:
    return [s["files"][i]["name"], s["files"][i]["folder"]]


def rename(d: Draw, s: State) -> Task:
    i, name = d.pick(s["files"]), d.one(THINGS)
    steps = [*_open(s, i), f"go:rename:{i}", f"clear:files.{i}.name", f"type:{name}"]
    says = "Rename “{}” in {} to “{}”|把“{}”（在{}里）重命名为“{}”"
    return d.task(says, [*_said(s, i), name], steps, {f"files.{i}.name": name})


def move(d: Draw, s: State) -> Task:
    i = d.pick(s["files"])
    to, path = d.one(s["folders"], [s["files"][i]["folder"]]), f"files.{i}.folder"
    steps = [*_open(s, i), f"go:move:{i}", f'set:{path}:"{to}"']
    return d.task("Move “{}” from {} to {}|把“{}”从{}移动到{}", [*_said(s, i), to], steps, {path: to})


def copy(d: Draw, s: State) -> Task:
    i = d.pick(s["files"])
    wants = {"files": More({**s["files"][i], "name": s["files"][i]["name"] + " 2"})}
    return d.task("Copy “{}” in {}|复制“{}”（在{}里）", _said(s, i), [*_open(s, i), f"copy:{i}"], wants)


def _binned(d: Draw, s: State, i: int, pair: str, said: list[str]) -> Task:
    steps, wants = [*_open(s, i), f"ask:bin:{i}", f"bin:{i}"], {f"files.{i}": GONE, "bin": More(s["files"][i])}
    return d.task(pair, said, steps, wants)


def delete(d: Draw, s: State) -> Task:
    i = d.pick(s["files"])
    return _binned(d, s, i, "Delete “{}” in {}|删除“{}”（在{}里）", _said(s, i))


def delete_largest(d: Draw, s: State) -> Task:
    """Sizes have to be compared."""
    folder = d.one(s["folders"])
    i = max((n for n, file in enumerate(s["files"]) if file["folder"] == folder), key=lambda n: s["files"][n]["size"])
    return _binned(d, s, i, "Delete the largest file in {}|删除{}里最大的文件", [folder])


def star(d: Draw, s: State) -> Task:
    i = d.pick(s["files"], starred=False)
    path = f"files.{i}.starred"
    return d.task("Star “{}” in {}|给“{}”（在{}里）加星标", _said(s, i), [*_open(s, i), f"flip:{path}"], {path: True})


def unstar(d: Draw, s: State) -> Task:
    i = d.pick(s["files"], starred=True)
    path = f"files.{i}.starred"
    steps = ["go:starred", f"go:file:{i}", f"flip:{path}"]
    return d.task("Take the star off “{}”|取消“{}”的星标", [s["files"][i]["name"]], steps, {path: False})


def folder(d: Draw, s: State) -> Task:
    name = d.one(FOLDERS, s["folders"])
    steps = ["go:new", "focus:ui.draft", f"type:{name}", "make"]
    return d.task("Make a folder “{}”|新建文件夹“{}”", [name], steps, {"folders": More(name)})


def restore(d: Draw, s: State) -> Task:
    n = d.pick(s["bin"])
    steps, wants = ["go:bin", f"restore:{n}"], {f"bin.{n}": GONE, "files": More(s["bin"][n])}
    return d.task("Restore “{}” from the bin|从回收站恢复“{}”", [s["bin"][n]["name"]], steps, wants)


def empty_bin(d: Draw, s: State) -> Task:
    return d.task("Empty the bin|清空回收站", [], ["go:bin", "ask:set:bin:[]", "set:bin:[]"], {"bin": []})


def no_file(d: Draw, s: State) -> Task:
    n, name = d.rng.randrange(len(s["folders"])), d.one(TOPICS, [file["name"] for file in s["files"]])
    return d.task("Delete “{}” in {}|删除“{}”（在{}里）", [name, s["folders"][n]], [f"go:folder:{n}"])


TEMPLATES = (
    rename, move, copy, delete, delete_largest, star, unstar, folder, restore, empty_bin, no_file,
)  # fmt: skip
