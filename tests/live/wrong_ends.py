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


def other_place(end):
    """A place where the route does not go."""
    return next(place["name"] for place in end["places"] if place["name"] != end["route"]["to"])


def other_title(end):
    """A video that does not play."""
    return next(video["title"] for video in end["videos"] if video["title"] != end["playing"])


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
    "shop-add": {
        "nothing": undone,
        "two": lambda end, d: end["cart"][-1].update(count=2),
        "another": lambda end, d: end["cart"][-1].update(name=end["cart"][0]["name"]),
        "and liked": lambda end, d: flip(end["items"][0], "liked"),
        "and bought": lambda end, d: (end["orders"].append(end["cart"]), end.update(cart=[])),
    },
    "shop-remove": {"all": lambda end, d: end["cart"].clear(), "another": lambda end, d: instead(end, d, "cart")},
    "shop-buy": {"the cart is full still": lambda end, d: end.update(cart=d.start["cart"])},
    "shop-sold-out": {"something else": lambda end, d: end["cart"].append({"name": "?", "count": 1})},
    "map-route": {
        "nothing": undone,
        "to another place": lambda end, d: end["route"].update(to=other_place(end)),
        "another way": lambda end, d: end["route"].update(by="walk" if end["route"]["by"] != "walk" else "bus"),
        "and saved": lambda end, d: flip(end["places"][0], "saved"),
        "and home": lambda end, d: end.update(home=end["route"]["to"]),
    },
    "map-home": {"as work": lambda end, d: end.update(work=end["home"], home=None)},
    "map-rate": {"a star too many": lambda end, d: end["places"][at(d)].update(stars=wanted(d) + 1)},
    "map-end-route": {"it goes on": undone},
    "video-play": {
        "nothing": undone,
        "another": lambda end, d: end.update(playing=other_title(end)),
        "faster": lambda end, d: end.update(speed=2),
        "and liked": lambda end, d: flip(end["videos"][0], "liked"),
        "and its channel followed": lambda end, d: flip(end["channels"][0], "follows"),
    },
    "video-later": {"played before": lambda end, d: end.update(playing=end["videos"][at(d)]["title"])},
    "video-comment": {"twice": lambda end, d: end["videos"][at(d)]["comments"].append(wanted(d).value)},
    "video-hide": {"another": lambda end, d: instead(end, d, "videos")},
    "form-register-with-guests": {
        "nothing": undone,
        "not submitted": lambda end, d: end.update(end["sent"].pop()),
        "a guest short": lambda end, d: end["sent"][-1].update(guests=end["sent"][-1]["guests"] - 1),
        "another name": lambda end, d: end["sent"][-1].update(name="?"),
        "twice": lambda end, d: end["sent"].append(dict(end["sent"][-1])),
        "and a newsletter": lambda end, d: flip(end["sent"][-1], "newsletter"),
    },
    "form-correct": {"the old name before it": lambda end, d: end.update(name=d.start["name"] + end["name"])},
    "form-address": {"as a remark": lambda end, d: end.update(remark=end["address"], address="")},
    "form-withdraw": {"both": lambda end, d: end["sent"].clear()},
    "files-rename": {
        "nothing": undone,
        "appended": lambda end, d: end["files"][at(d)].update(name=d.start["files"][at(d)]["name"] + wanted(d)),
        "another": lambda end, d: (undone(end, d), other(end["files"], at(d)).update(name=wanted(d))),
        "and starred": lambda end, d: flip(end["files"][at(d)], "starred"),
    },
    "files-delete": {
        "from the bin too": lambda end, d: end["bin"].clear(),
        "another": lambda end, d: end["files"].pop(),
    },
    "files-move": {"copied": lambda end, d: end["files"].append(dict(d.start["files"][at(d)]))},
    "files-folder": {"twice": lambda end, d: end["folders"].append(wanted(d).value)},
    "notes-new": {
        "nothing": undone,
        "without a title": lambda end, d: end["notes"][-1].update(title=""),
        "the title as text": lambda end, d: end["notes"][-1].update(title="", text=wanted(d).value["title"]),
        "an empty one beside": lambda end, d: end["notes"].append({**end["notes"][-1], "title": ""}),
    },
    "notes-tick": {"another too": lambda end, d: end["notes"][at(d)]["tasks"].append({"text": "?", "done": True})},
    "notes-append": {"instead": lambda end, d: end["notes"][at(d)].update(text=wanted(d)[-1])},
    "notes-store": {"deleted": lambda end, d: end["archive"].pop()},
    "calendar-new": {
        "nothing": undone,
        "a day late": lambda end, d: end["events"][-1].update(day=end["events"][-1]["day"] + 1),
        "an hour late": lambda end, d: end["events"][-1].update(hour=10),
        "twice": lambda end, d: end["events"].append(dict(end["events"][-1])),
    },
    "calendar-move-hour": {"another day too": lambda end, d: end["events"][at(d)].update(day=1)},
    "calendar-delete": {"another": lambda end, d: instead(end, d, "events")},
    "calendar-invite": {"in place of one": lambda end, d: end["events"][at(d)]["guests"].pop(0)},
}
