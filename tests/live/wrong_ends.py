"""End states that are nearly right: of each task, what went wrong → what it does to a right end state."""

from overlay.live.apps.tasks import GONE


def at(drawn):
    """The number in the first path that a task wants."""
    return int(next(part for part in next(iter(drawn.task.wants)).split(".") if part.isdigit()))


def wanted(drawn):
    """The first value that a task wants."""
    return next(iter(drawn.task.wants.values()))


def undone(end, drawn):
    """Nothing was done."""
    end.clear()
    end.update(drawn.start)


def flip(record, key):
    """A switch that nobody asked for."""
    record[key] = not record[key]


def other(records, number):
    """A record beside the one that was meant."""
    return records[(number + 1) % len(records)]


def last(end, drawn):
    """The message that was sent."""
    return end["chats"][at(drawn)]["lines"][-1]


def instead(end, drawn, name):
    """The wrong one was deleted."""
    assert wanted(drawn) is GONE
    undone(end, drawn)
    end[name] = [record for record in end[name] if record is not other(end[name], at(drawn))]


WRONG = {
    "messages-send": {
        "nothing": undone,
        "sent twice": lambda end, d: end["chats"][at(d)]["lines"].append(dict(last(end, d))),
        "a letter short": lambda end, d: last(end, d).update(text=last(end, d)["text"][:-1]),
        "to another": lambda end, d: other(end["chats"], at(d))["lines"].append(end["chats"][at(d)]["lines"].pop()),
        "and muted": lambda end, d: flip(end["chats"][at(d)], "muted"),
        "and another's chat muted": lambda end, d: flip(other(end["chats"], at(d)), "muted"),
    },
    "messages-send-to-two": {"to one": lambda end, d: end["chats"][at(d)]["lines"].pop()},
    "messages-delete-chat": {"another": lambda end, d: instead(end, d, "chats")},
    "messages-delete-message": {"the chat": lambda end, d: end["chats"].pop(at(d))},
    "messages-nobody": {"to somebody": lambda end, d: end["chats"][0]["lines"].append({"me": True, "text": "?"})},
    "settings-on": {
        "nothing": undone,
        "and a level": lambda end, d: end.update(volume=end["volume"] + 1),
        "and another": lambda end, d: flip(end, "dark" if "dark" not in d.task.wants else "wifi"),
    },
    "settings-volume": {
        "one too many": lambda end, d: end.update(volume=end["volume"] + 1),
        "the brightness": lambda end, d: (undone(end, d), end.update(brightness=wanted(d) + 20)),
    },
    "settings-on-and-off": {"one of two": lambda end, d: flip(end, next(iter(d.task.wants)))},
    "settings-rename": {"the old name before it": lambda end, d: end.update(device=d.start["device"] + end["device"])},
    "settings-no-network": {"joined another": lambda end, d: end.update(joined="Station-2")},
    "alarm-on": {
        "nothing": undone,
        "another too": lambda end, d: flip(other(end["alarms"], at(d)), "on"),
        "and moved": lambda end, d: end["alarms"][at(d)].update(hour=end["alarms"][at(d)]["hour"] + 1),
    },
    "alarm-delete": {"another": lambda end, d: instead(end, d, "alarms")},
    "alarm-new": {
        "at the wrong time": lambda end, d: end["alarms"][-1].update(minute=59),
        "twice": lambda end, d: end["alarms"].append(dict(end["alarms"][-1])),
        "by moving an old one": lambda end, d: end["alarms"].pop(0),
    },
    "alarm-timer": {"not started": lambda end, d: end["timer"].update(runs=False)},
}
