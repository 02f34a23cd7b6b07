"""A shop with a cart."""

from overlay.live.apps.tasks import GONE, Draw, More, State, Task
from overlay.live.apps.words import THINGS
from overlay.live.phone.words import ICONS

TITLE = "Shop|商店"
COUPONS = ("SPRING", "HELLO5", "SAVE10", "WINTER")


def start(d: Draw) -> State:
    """Nine or ten items at different prices, two of them sold out; three lines in the cart; two orders."""
    count = d.rng.randint(9, 10)
    names, prices = d.some(THINGS, count), d.rng.sample(range(5, 99), count)
    items = [
        {"name": name, "price": price, "stock": True, "liked": d.coin(), "sign": d.one(tuple(ICONS))}
        for name, price in zip(names, prices, strict=True)
    ]
    for n in d.rng.sample(range(count), 2):
        items[n]["stock"] = False
    bought = [name for name in d.some(THINGS, 14) if name not in names]
    cart = [_line(item["name"], d.rng.randint(2, 4)) for item in d.rng.sample([i for i in items if i["stock"]], 3)]
    return {"items": items, "cart": cart, "coupon": "", "orders": [[_line(name, 1)] for name in bought[:2]]}


def _line(name: str, count: int) -> State:
    return {"name": name, "count": count}


def _new(s: State) -> list[int]:
    """Numbers of the items that can be had and are not in the cart."""
    names = [line["name"] for line in s["cart"]]
    return [n for n, item in enumerate(s["items"]) if item["stock"] and item["name"] not in names]


def add(d: Draw, s: State) -> Task:
    i = d.one(_new(s))
    name = s["items"][i]["name"]
    steps, wants = [f"go:item:{i}", f"put:{i}"], {"cart": More(_line(name, 1))}
    return d.task("Put one “{}” into the cart|把一件“{}”加入购物车", [name], steps, wants)


def add_several(d: Draw, s: State) -> Task:
    i, count = d.one(_new(s)), d.rng.randint(2, 3)
    name = s["items"][i]["name"]
    steps, wants = [f"go:item:{i}", *[f"put:{i}"] * count], {"cart": More(_line(name, count))}
    return d.task("Put {} of “{}” into the cart|把 {} 件“{}”加入购物车", [count, name], steps, wants)


def add_cheaper(d: Draw, s: State) -> Task:
    """Prices have to be compared."""
    both = sorted(d.rng.sample(_new(s), 2))
    i, names = min(both, key=lambda n: s["items"][n]["price"]), [s["items"][n]["name"] for n in both]
    steps, wants = [f"go:item:{i}", f"put:{i}"], {"cart": More(_line(s["items"][i]["name"], 1))}
    says = "Put the cheaper one of “{}” and “{}” into the cart|把“{}”和“{}”中便宜的那个加入购物车"
    return d.task(says, names, steps, wants)


def like(d: Draw, s: State) -> Task:
    i = d.pick(s["items"], liked=False)
    path = f"items.{i}.liked"
    return d.task(
        "Mark “{}” as a favourite|收藏“{}”", [s["items"][i]["name"]], [f"go:item:{i}", f"flip:{path}"], {path: True}
    )


def unlike(d: Draw, s: State) -> Task:
    i = d.pick(s["items"], liked=True)
    path = f"items.{i}.liked"
    says = "Take “{}” off the favourites|取消收藏“{}”"
    return d.task(says, [s["items"][i]["name"]], [f"go:item:{i}", f"flip:{path}"], {path: False})


def like_dearest(d: Draw, s: State) -> Task:
    i = max(range(len(s["items"])), key=lambda n: s["items"][n]["price"])
    s["items"][i]["liked"] = False
    path = f"items.{i}.liked"
    return d.task(
        "Mark the most expensive item as a favourite|收藏最贵的商品", [], [f"go:item:{i}", f"flip:{path}"], {path: True}
    )


def remove(d: Draw, s: State) -> Task:
    n = d.pick(s["cart"])
    says = "Take “{}” out of the cart|从购物车里删掉“{}”"
    return d.task(says, [s["cart"][n]["name"]], ["go:cart", f"drop:cart.{n}"], {f"cart.{n}": GONE})


def recount(d: Draw, s: State) -> Task:
    n, by = d.pick(s["cart"]), d.rng.choice([-1, 1, 2])
    path, count = f"cart.{n}.count", s["cart"][n]["count"] + by
    steps = ["go:cart", *[f"add:{path}:{by // abs(by)}"] * abs(by)]
    return d.task(
        "Have “{}” {} times in the cart|把购物车里“{}”的数量改为 {}",
        [s["cart"][n]["name"], count],
        steps,
        {path: count},
    )


def buy(d: Draw, s: State) -> Task:
    wants = {"orders": More([dict(line) for line in s["cart"]]), "cart": []}
    return d.task("Buy what is in the cart|购买购物车里的商品", [], ["go:cart", "ask:buy", "buy:"], wants)


def buy_one(d: Draw, s: State) -> Task:
    i = d.one(_new(s))
    name, s["cart"] = s["items"][i]["name"], []
    steps = [f"go:item:{i}", f"put:{i}", "back", "go:cart", "ask:buy", "buy:"]
    return d.task("Buy one “{}”|买一件“{}”", [name], steps, {"orders": More([_line(name, 1)])})


def coupon(d: Draw, s: State) -> Task:
    text = d.one(COUPONS)
    steps = ["go:cart", "focus:coupon", f"type:{text}"]
    return d.task("Enter the coupon {} in the cart|在购物车里填写优惠码 {}", [text], steps, {"coupon": text})


def cancel_order(d: Draw, s: State) -> Task:
    n = d.rng.randrange(len(s["orders"]))
    steps = ["go:orders", f"go:order:{n}", f"ask:del:orders.{n}", f"del:orders.{n}"]
    return d.task("Cancel the order of “{}”|取消“{}”的订单", [s["orders"][n][0]["name"]], steps, {f"orders.{n}": GONE})


def sold_out(d: Draw, s: State) -> Task:
    i = d.one([n for n, item in enumerate(s["items"]) if not item["stock"]])
    return d.task("Put one “{}” into the cart|把一件“{}”加入购物车", [s["items"][i]["name"]], [f"go:item:{i}"])


TEMPLATES = (
    add, add_several, add_cheaper, like, unlike, like_dearest, remove, recount, buy, buy_one, coupon, cancel_order,
    sold_out,
)  # fmt: skip
