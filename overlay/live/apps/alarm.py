"""Alarms and a timer."""

from overlay.live.apps.tasks import GONE, Draw, More, State, Task

TITLE = "Alarm|闹钟"
LABELS = ("Work|上班", "Swim|游泳", "Medicine|吃药", "School|上学", "Run|跑步", "Bus|赶车")
DAYS = (
    "Monday|星期一", "Tuesday|星期二", "Wednesday|星期三", "Thursday|星期四", "Friday|星期五", "Saturday|星期六",
    "Sunday|星期日",
)  # fmt: skip


def _alarm(hour: int, minute: int, label: str, on: bool) -> State:
    return {"hour": hour, "minute": minute, "label": label, "on": on, "vibrate": False, "days": [False] * 7}


def start(d: Draw) -> State:
    """Four to six alarms at different hours."""
    count = d.rng.randint(4, 6)
    alarms = [
        _alarm(hour, d.rng.randrange(15, 45, 5), label, d.coin())
        for hour, label in zip(sorted(d.rng.sample(range(5, 22), count)), d.some(LABELS, count), strict=True)
    ]
    return {"alarms": alarms, "timer": {"minutes": d.rng.randint(3, 9), "runs": False}}


def _clock(hour: int, minute: int) -> str:
    return f"{hour:02}:{minute:02}"


def _of(s: State, i: int) -> str:
    return _clock(s["alarms"][i]["hour"], s["alarms"][i]["minute"])


def on(d: Draw, s: State) -> Task:
    i = d.pick(s["alarms"], on=False)
    wants = {f"alarms.{i}.on": True}
    return d.task("Turn on the alarm at {}|打开 {} 的闹钟", [_of(s, i)], [f"flip:alarms.{i}.on"], wants)


def off(d: Draw, s: State) -> Task:
    i = d.pick(s["alarms"], on=True)
    label, wants = s["alarms"][i]["label"], {f"alarms.{i}.on": False}
    return d.task("Turn off the alarm “{}”|关闭“{}”闹钟", [label], [f"flip:alarms.{i}.on"], wants)


def all_off(d: Draw, s: State) -> Task:
    d.pick(s["alarms"], on=True)
    paths = [f"alarms.{i}.on" for i, alarm in enumerate(s["alarms"]) if alarm["on"]]
    steps = [f"flip:{path}" for path in paths]
    return d.task("Turn off every alarm that is on|关闭所有已打开的闹钟", [], steps, dict.fromkeys(paths, False))


def delete(d: Draw, s: State) -> Task:
    i = d.pick(s["alarms"])
    steps = [f"go:alarm:{i}", f"ask:del:alarms.{i}", f"del:alarms.{i}"]
    return d.task("Delete the alarm at {}|删除 {} 的闹钟", [_of(s, i)], steps, {f"alarms.{i}": GONE})


def _times(path: str, by: int, size: int = 1) -> list[str]:
    return [f"add:{path}:{size if by > 0 else -size}"] * abs(by)


def move_hour(d: Draw, s: State) -> Task:
    i, by = d.pick(s["alarms"]), d.rng.choice([-2, -1, 1, 2])
    hour = s["alarms"][i]["hour"] + by
    said = [_of(s, i), _clock(hour, s["alarms"][i]["minute"])]
    steps = [f"go:alarm:{i}", *_times(f"alarms.{i}.hour", by)]
    return d.task("Move the alarm at {} to {}|把 {} 的闹钟改到 {}", said, steps, {f"alarms.{i}.hour": hour})


def move_minutes(d: Draw, s: State) -> Task:
    i, by = d.pick(s["alarms"]), d.rng.choice([-2, -1, 1, 2])
    minute = s["alarms"][i]["minute"] + 5 * by
    said = [_of(s, i), _clock(s["alarms"][i]["hour"], minute)]
    steps = [f"go:alarm:{i}", *_times(f"alarms.{i}.minute", by, 5)]
    return d.task("Move the alarm at {} to {}|把 {} 的闹钟改到 {}", said, steps, {f"alarms.{i}.minute": minute})


def new(d: Draw, s: State) -> Task:
    """A new one is at 07:00."""
    i, hours, fives = len(s["alarms"]), d.rng.choice([-1, 1, 2]), d.rng.randint(0, 2)
    steps = ["new:", *_times(f"alarms.{i}.hour", hours), *_times(f"alarms.{i}.minute", fives, 5)]
    wants = {"alarms": More(_alarm(7 + hours, 5 * fives, "", True))}
    return d.task("Make a new alarm at {}|新建一个 {} 的闹钟", [_clock(7 + hours, 5 * fives)], steps, wants)


def label(d: Draw, s: State) -> Task:
    i = d.pick(s["alarms"])
    text = d.one(LABELS, [s["alarms"][i]["label"]])
    steps = [f"go:alarm:{i}", f"clear:alarms.{i}.label", f"type:{text}"]
    wants = {f"alarms.{i}.label": text}
    return d.task("Label the alarm at {} “{}”|把 {} 闹钟的标签改为“{}”", [_of(s, i), text], steps, wants)


def repeat(d: Draw, s: State) -> Task:
    i, (first, second) = d.pick(s["alarms"]), sorted(d.rng.sample(range(7), 2))
    paths = [f"alarms.{i}.days.{day}" for day in (first, second)]
    steps = [f"go:alarm:{i}", f"go:days:{i}", *(f"flip:{path}" for path in paths)]
    said = [_of(s, i), DAYS[first], DAYS[second]]
    return d.task(
        "Repeat the alarm at {} on {} and {}|让 {} 的闹钟在{}和{}重复", said, steps, dict.fromkeys(paths, True)
    )


def vibrate(d: Draw, s: State) -> Task:
    i = d.pick(s["alarms"])
    path = f"alarms.{i}.vibrate"
    return d.task(
        "Let the alarm “{}” vibrate|让“{}”闹钟振动",
        [s["alarms"][i]["label"]],
        [f"go:alarm:{i}", f"flip:{path}"],
        {path: True},
    )


def timer(d: Draw, s: State) -> Task:
    by = d.rng.choice([-2, -1, 1, 2])
    minutes = s["timer"]["minutes"] + by
    steps, wants = (
        ["go:timer", *_times("timer.minutes", by), "flip:timer.runs"],
        {"timer.minutes": minutes, "timer.runs": True},
    )
    return d.task("Start a timer of {} minutes|开始一个 {} 分钟的计时", [minutes], steps, wants)


def no_alarm(d: Draw, s: State) -> Task:
    hour = d.one(range(5, 22), [alarm["hour"] for alarm in s["alarms"]])
    return d.task("Delete the alarm at {}|删除 {} 的闹钟", [_clock(hour, d.rng.randrange(15, 45, 5))], [])


TEMPLATES = (
    on, off, all_off, delete, move_hour, move_minutes, new, label, repeat, vibrate, timer, no_alarm,
)  # fmt: skip
