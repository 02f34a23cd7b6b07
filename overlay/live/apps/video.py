"""A list of videos. What plays is part of the state: a task that opens a video asks for that."""

from overlay.live.apps.tasks import GONE, Draw, More, State, Task
from overlay.live.apps.words import NAMES, TEXTS, TOPICS
from overlay.live.phone.words import ICONS

TITLE = "Videos|视频"


def start(d: Draw) -> State:
    """Nine to eleven videos of different lengths, of four channels; none plays."""
    count, channels = d.rng.randint(9, 11), d.some(NAMES, 4)
    videos = [
        {
            "title": title, "channel": d.one(channels), "minutes": minutes, "seconds": d.rng.randrange(60),
            "liked": d.coin(), "later": d.coin(), "comments": d.some(TEXTS, d.rng.randint(0, 2)),
            "sign": d.one(tuple(ICONS)),
        }
        for title, minutes in zip(d.some(TOPICS, count), d.rng.sample(range(1, 40), count), strict=True)
    ]  # fmt: skip
    channels = [{"name": name, "follows": d.coin()} for name in channels]
    return {"videos": videos, "channels": channels, "playing": None, "speed": 1}


def play(d: Draw, s: State) -> Task:
    i = d.pick(s["videos"])
    title = s["videos"][i]["title"]
    return d.task("Play the video “{}”|播放视频“{}”", [title], [f"play:{i}"], {"playing": title})


def _by_length(d: Draw, s: State, sign: int, pair: str) -> Task:
    i = min(range(len(s["videos"])), key=lambda n: sign * s["videos"][n]["minutes"])
    return d.task(pair, [], [f"play:{i}"], {"playing": s["videos"][i]["title"]})


def play_shortest(d: Draw, s: State) -> Task:
    return _by_length(d, s, 1, "Play the shortest video|播放最短的视频")


def play_longest(d: Draw, s: State) -> Task:
    return _by_length(d, s, -1, "Play the longest video|播放最长的视频")


def _with(d: Draw, s: State, i: int, pair: str, said: list, steps: list[str], wants: State) -> Task:
    title = s["videos"][i]["title"]
    return d.task(pair, [title, *said], [f"play:{i}", *steps], {**wants, "playing": title})


def like(d: Draw, s: State) -> Task:
    i = d.pick(s["videos"], liked=False)
    path = f"videos.{i}.liked"
    return _with(d, s, i, "Play “{}” and like it|播放“{}”并点喜欢", [], [f"flip:{path}"], {path: True})


def unlike(d: Draw, s: State) -> Task:
    i = d.pick(s["videos"], liked=True)
    path = f"videos.{i}.liked"
    return _with(d, s, i, "Play “{}” and take the like back|播放“{}”并取消喜欢", [], [f"flip:{path}"], {path: False})


def speed(d: Draw, s: State) -> Task:
    i, fast = d.pick(s["videos"]), d.one([0.5, 1.5, 2])
    return _with(
        d, s, i, "Play “{}” at speed {}|播放“{}”，速度 {}", [fast], ["go:speed", f"set:speed:{fast}"], {"speed": fast}
    )


def comment(d: Draw, s: State) -> Task:
    i, text = d.pick(s["videos"]), d.one(TEXTS)
    steps = [f"go:comments:{i}", "focus:ui.draft", f"type:{text}", f"comment:{i}"]
    wants = {f"videos.{i}.comments": More(text)}
    return _with(d, s, i, "Play “{}” and comment “{}”|播放“{}”并评论“{}”", [text], steps, wants)


def later(d: Draw, s: State) -> Task:
    i = d.pick(s["videos"], later=False)
    path = f"videos.{i}.later"
    says = "Without playing it, put “{}” on the list for later (hold it)|不要播放，把“{}”加入稍后再看（长按）"
    return d.task(says, [s["videos"][i]["title"]], [f"hold:go:more:{i}", f"flip:{path}"], {path: True})


def not_later(d: Draw, s: State) -> Task:
    i = d.pick(s["videos"], later=True)
    path = f"videos.{i}.later"
    says = "Take “{}” off the list for later|从稍后再看里去掉“{}”"
    return d.task(says, [s["videos"][i]["title"]], ["go:later", f"set:{path}:false"], {path: False})


def hide(d: Draw, s: State) -> Task:
    i = d.pick(s["videos"])
    steps = [f"hold:go:more:{i}", f"ask:del:videos.{i}", f"del:videos.{i}"]
    says = "Say that “{}” is not interesting (hold it)|把“{}”标为不感兴趣（长按）"
    return d.task(says, [s["videos"][i]["title"]], steps, {f"videos.{i}": GONE})


def _following(d: Draw, s: State, to: bool, pair: str) -> Task:
    i = d.pick(s["channels"], follows=not to)
    path = f"channels.{i}.follows"
    return d.task(pair, [s["channels"][i]["name"]], ["go:channels", f"flip:{path}"], {path: to})


def follow(d: Draw, s: State) -> Task:
    return _following(d, s, True, "Follow the channel {}|关注频道{}")


def unfollow(d: Draw, s: State) -> Task:
    return _following(d, s, False, "Stop following the channel {}|取消关注频道{}")


def no_video(d: Draw, s: State) -> Task:
    title = d.one(TOPICS, [video["title"] for video in s["videos"]])
    return d.task("Play the video “{}”|播放视频“{}”", [title], [])


TEMPLATES = (
    play, play_shortest, play_longest, like, unlike, speed, comment, later, not_later, hide, follow, unfollow, no_video,
)  # fmt: skip
