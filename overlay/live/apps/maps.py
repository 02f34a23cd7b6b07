"""A map that is searched."""

from overlay.live.apps.tasks import Draw, State, Task

TITLE = "Map|地图"
KINDS = ("Café|咖啡馆", "Bank|银行", "Museum|博物馆", "Hotel|酒店", "Park|公园")
FIRST = (
    "Green|绿叶",
    "River|河畔",
    "Royal|皇家",
    "Sunny|阳光",
    "Old Town|老城",
    "North|北方",
    "Lucky|好运",
    "Ocean|海洋",
)
WAYS = {"walk": "on foot|步行", "bus": "by bus|公交", "car": "by car|驾车"}


def start(d: Draw) -> State:
    """Ten places, two of each kind, and no route."""
    kinds = [kind for kind in KINDS for _ in range(2)]
    d.rng.shuffle(kinds)
    taken: dict[str, list[str]] = {kind: d.some(FIRST, 2) for kind in KINDS}
    metres = d.rng.sample(range(100, 3000, 10), len(kinds))
    space = " " if d.lang == "en" else ""
    places = [
        {
            "name": taken[kind].pop() + space + d.t(kind),
            "kind": kind,
            "metres": far,
            "saved": d.coin(),
            "stars": d.rng.randint(1, 5),
        }
        for kind, far in zip(kinds, metres, strict=True)
    ]
    return {
        "places": places,
        "route": None,
        "home": None,
        "work": None,
        "tolls": d.coin(),
        "shares": d.coin(),
        "night": d.coin(),
    }


def _route(i: int, by: str) -> list[str]:
    return [f"go:place:{i}", f"go:ways:{i}", f"route:{i}:{by}"]


def route(d: Draw, s: State) -> Task:
    i, by = d.pick(s["places"]), d.one(tuple(WAYS))
    name = s["places"][i]["name"]
    says = "Start a route to {}, {}|开始去{}的路线，方式：{}"
    return d.task(says, [name, WAYS[by]], _route(i, by), {"route": {"to": name, "by": by}})


def searched(d: Draw, s: State) -> Task:
    """The same by typing the name; nobody has to."""
    i, by = d.pick(s["places"]), d.one(tuple(WAYS))
    name = s["places"][i]["name"]
    says = "Search for {} and start a route there, {}|搜索{}并开始去那里的路线，方式：{}"
    steps = ["focus:ui.query", f"type:{name}", *_route(i, by)]
    return d.task(says, [name, WAYS[by]], steps, {"route": {"to": name, "by": by}})


def nearest(d: Draw, s: State) -> Task:
    kind, by = KINDS[d.rng.randrange(len(KINDS))], d.one(tuple(WAYS))
    i = min((n for n, place in enumerate(s["places"]) if place["kind"] == kind), key=lambda n: s["places"][n]["metres"])
    says = "Start a route to the nearest {}, {}|开始去最近的{}的路线，方式：{}"
    return d.task(says, [kind, WAYS[by]], _route(i, by), {"route": {"to": s["places"][i]["name"], "by": by}})


def end_route(d: Draw, s: State) -> Task:
    i, by = d.pick(s["places"]), d.one(tuple(WAYS))
    s["route"] = {"to": s["places"][i]["name"], "by": by}
    return d.task("End the route|结束导航", [], ["go:route", "set:route:null"], {"route": None})


def _saving(d: Draw, s: State, to: bool, pair: str) -> Task:
    i = d.pick(s["places"], saved=not to)
    path = f"places.{i}.saved"
    return d.task(pair, [s["places"][i]["name"]], [f"go:place:{i}", f"flip:{path}"], {path: to})


def save(d: Draw, s: State) -> Task:
    return _saving(d, s, True, "Save the place {}|保存地点{}")


def unsave(d: Draw, s: State) -> Task:
    return _saving(d, s, False, "Take {} off the saved places|从已保存的地点里去掉{}")


def _named(d: Draw, s: State, what: str, pair: str) -> Task:
    i = d.pick(s["places"])
    name = s["places"][i]["name"]
    return d.task(pair, [name], [f"go:place:{i}", f"name:{what}:{i}"], {what: name})


def home(d: Draw, s: State) -> Task:
    return _named(d, s, "home", "Set {} as home|把{}设为家")


def work(d: Draw, s: State) -> Task:
    return _named(d, s, "work", "Set {} as work|把{}设为公司")


def rate(d: Draw, s: State) -> Task:
    i = d.pick(s["places"])
    stars = d.one(range(1, 6), [s["places"][i]["stars"]])
    path = f"places.{i}.stars"
    steps = [f"go:place:{i}", f"go:rate:{i}", f"set:{path}:{stars}"]
    return d.task("Rate {} with {} stars|给{}评 {} 星", [s["places"][i]["name"], stars], steps, {path: stars})


def no_tolls(d: Draw, s: State) -> Task:
    s["tolls"] = False
    return d.task("Avoid tolls|避开收费道路", [], ["go:options", "flip:tolls"], {"tolls": True})


def stop_sharing(d: Draw, s: State) -> Task:
    s["shares"] = True
    return d.task("Stop sharing my place|停止共享我的位置", [], ["go:options", "flip:shares"], {"shares": False})


def no_place(d: Draw, s: State) -> Task:
    names = [place["name"] for place in s["places"]]
    space = " " if d.lang == "en" else ""
    name = d.one([d.t(first) + space + d.t(kind) for first in FIRST for kind in KINDS], names)
    steps = ["focus:ui.query", f"type:{name}"]
    return d.task("Start a route to {}, {}|开始去{}的路线，方式：{}", [name, WAYS[d.one(tuple(WAYS))]], steps)


TEMPLATES = (
    route, searched, nearest, end_route, save, unsave, home, work, rate, no_tolls, stop_sharing, no_place,
)  # fmt: skip
