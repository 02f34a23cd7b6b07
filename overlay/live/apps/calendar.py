"""A month with events."""

from overlay.live.apps.tasks import GONE, Draw, More, State, Task
from overlay.live.apps.words import NAMES, TOPICS

TITLE = "Calendar|日历"
PLACES = ("Room 5|五号房间", "Hall|大厅", "Garden café|花园咖啡", "Library|图书馆", "Station|车站")


def _event(title: str, place: str, day: int, hour: int) -> State:
    return {"title": title, "place": place, "day": day, "hour": hour, "reminds": False, "guests": []}


def start(d: Draw) -> State:
    """Six to nine events on different days."""
    count = d.rng.randint(6, 9)
    events = [
        {**_event(title, d.one(PLACES), day, d.rng.randint(8, 18)), "reminds": d.coin(), "guests": d.some(NAMES, 2)}
        for title, day in zip(d.some(TOPICS, count), sorted(d.rng.sample(range(3, 28), count)), strict=True)
    ]
    return {"events": events}


def _open(s: State, i: int) -> list[str]:
    return [f"go:day:{s['events'][i]['day']}", f"go:event:{i}"]


def _title(s: State, i: int) -> str:
    return s["events"][i]["title"]


def new(d: Draw, s: State) -> Task:
    """A new one is at nine."""
    i, day = len(s["events"]), d.rng.randint(1, 30)
    title = d.one(TOPICS, [event["title"] for event in s["events"]])
    steps = [f"go:day:{day}", f"new:{day}", f"focus:events.{i}.title", f"type:{title}"]
    wants = {"events": More(_event(title, "", day, 9))}
    return d.task("Make an event “{}” on day {} at 9:00|在 {1} 日 9:00 新建日程“{0}”", [title, day], steps, wants)


def new_later(d: Draw, s: State) -> Task:
    i, day, by = len(s["events"]), d.rng.randint(1, 30), d.rng.randint(1, 3)
    title = d.one(TOPICS, [event["title"] for event in s["events"]])
    hour = f"events.{i}.hour"
    steps = [f"go:day:{day}", f"new:{day}", f"focus:events.{i}.title", f"type:{title}", *[f"add:{hour}:1"] * by]
    wants = {"events": More(_event(title, "", day, 9 + by))}
    says = "Make an event “{}” on day {} at {}:00|在 {1} 日 {2}:00 新建日程“{0}”"
    return d.task(says, [title, day, 9 + by], steps, wants)


def _shift(d: Draw, s: State, key: str, pair: str) -> Task:
    i, by = d.pick(s["events"]), d.rng.choice([-2, -1, 1, 2])
    path, value = f"events.{i}.{key}", s["events"][i][key] + by
    return d.task(
        pair, [_title(s, i), value], [*_open(s, i), *[f"add:{path}:{by // abs(by)}"] * abs(by)], {path: value}
    )


def move_day(d: Draw, s: State) -> Task:
    return _shift(d, s, "day", "Move the event “{}” to day {}, same hour|把日程“{}”移到 {} 日，时间不变")


def move_hour(d: Draw, s: State) -> Task:
    return _shift(d, s, "hour", "Move the event “{}” to {}:00 on the same day|把日程“{}”改到当天 {}:00")


def delete(d: Draw, s: State) -> Task:
    i = d.pick(s["events"])
    steps = [*_open(s, i), f"ask:del:events.{i}", f"del:events.{i}"]
    return d.task("Delete the event “{}”|删除日程“{}”", [_title(s, i)], steps, {f"events.{i}": GONE})


def delete_by_day(d: Draw, s: State) -> Task:
    i = d.pick(s["events"])
    steps = [*_open(s, i), f"ask:del:events.{i}", f"del:events.{i}"]
    return d.task("Delete the event on day {}|删除 {} 日的日程", [s["events"][i]["day"]], steps, {f"events.{i}": GONE})


def remind(d: Draw, s: State) -> Task:
    i = d.pick(s["events"], reminds=False)
    path = f"events.{i}.reminds"
    return d.task(
        "Set a reminder for the event “{}”|给日程“{}”设提醒",
        [_title(s, i)],
        [*_open(s, i), f"flip:{path}"],
        {path: True},
    )


def place(d: Draw, s: State) -> Task:
    i = d.pick(s["events"])
    path, text = f"events.{i}.place", d.one(PLACES, [s["events"][i]["place"]])
    steps = [*_open(s, i), f"clear:{path}", f"type:{text}"]
    return d.task(
        "Change the place of “{}” to “{}”|把日程“{}”的地点改为“{}”", [_title(s, i), text], steps, {path: text}
    )


def retitle(d: Draw, s: State) -> Task:
    i = d.pick(s["events"])
    path, text = f"events.{i}.title", d.one(TOPICS, [event["title"] for event in s["events"]])
    steps = ["go:list", f"go:event:{i}", f"clear:{path}", f"type:{text}"]
    return d.task("Rename the event “{}” to “{}”|把日程“{}”改名为“{}”", [_title(s, i), text], steps, {path: text})


def invite(d: Draw, s: State) -> Task:
    i = d.pick(s["events"])
    name = d.one(NAMES, s["events"][i]["guests"])
    steps = [*_open(s, i), f"go:guests:{i}", "focus:ui.draft", f"type:{name}", f"invite:{i}"]
    return d.task(
        "Invite {1} to the event “{0}”|邀请{1}参加日程“{0}”",
        [_title(s, i), name],
        steps,
        {f"events.{i}.guests": More(name)},
    )


def uninvite(d: Draw, s: State) -> Task:
    i, n = d.pick(s["events"]), d.rng.randrange(2)
    path = f"events.{i}.guests.{n}"
    steps, said = [*_open(s, i), f"go:guests:{i}", f"drop:{path}"], [_title(s, i), s["events"][i]["guests"][n]]
    return d.task("Take {1} off the guests of “{0}”|把{1}从日程“{0}”的参与人里去掉", said, steps, {path: GONE})


def no_event(d: Draw, s: State) -> Task:
    title = d.one(TOPICS, [event["title"] for event in s["events"]])
    return d.task("Delete the event “{}”|删除日程“{}”", [title], ["go:list"])


TEMPLATES = (
    new, new_later, move_day, move_hour, delete, delete_by_day, remind, place, retitle, invite, uninvite, no_event,
)  # fmt: skip
