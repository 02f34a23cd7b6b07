"""A registration form: it is sent only with a name and agreement, and is empty again then."""

from typing import Any

from overlay.live.apps.tasks import GONE, Draw, More, State, Task
from overlay.live.apps.words import NAMES, TEXTS

TITLE = "Form|表格"
CITIES = ("Paris|巴黎", "London|伦敦", "Tokyo|东京", "Beijing|北京", "Shanghai|上海", "Berlin|柏林", "Madrid|马德里")
MEALS = ("Fish|鱼", "Vegetables|蔬菜", "Chicken|鸡肉", "Noodles|面条", "Rice|米饭")
STREETS = ("Lake Street 5|湖滨路5号", "Hill Road 12|山坡路12号", "Mill Lane 8|磨坊巷8号", "Park Way 30|公园道30号")
EMPTY: State = {
    "name": "", "phone": "", "address": "", "city": None, "meal": None, "guests": 1, "newsletter": False,
    "parking": False, "remark": "", "agreed": False,
}  # fmt: skip


def _phone(d: Draw) -> str:
    return str(d.rng.randint(13000000, 13999999))


def start(d: Draw) -> State:
    """An empty form, and two that were sent."""
    sent = [{**EMPTY, "name": name, "phone": _phone(d), "agreed": True} for name in d.some(NAMES, 2)]
    return {**EMPTY, "cities": d.some(CITIES, 5), "meals": d.some(MEALS, 4), "sent": sent}


def _write(path: str, text: str) -> list[str]:
    return [f"focus:{path}", f"type:{text}"]


def _who(d: Draw, s: State) -> str:
    return d.one(NAMES, [form["name"] for form in s["sent"]])


def _submitted(d: Draw, s: State, pair: str, said: list[Any], steps: list[str], values: State) -> Task:
    """A whole form: a name, something more, agreement."""
    name = _who(d, s)
    way = [*_write("name", name), *steps, "flip:agreed", "submit"]
    wants = {"sent": More({**EMPTY, **values, "name": name, "agreed": True})}
    return d.task(pair, [name, *said], way, wants)


def register(d: Draw, s: State) -> Task:
    return _submitted(d, s, "Agree and submit the form for {}|为{}填表，同意条款并提交", [], [], {})


def register_by_phone(d: Draw, s: State) -> Task:
    phone = _phone(d)
    says = "Submit the form for {}, phone {}, agreed|为{}填表并提交，电话 {}，同意条款"
    return _submitted(d, s, says, [phone], _write("phone", phone), {"phone": phone})


def register_in_city(d: Draw, s: State) -> Task:
    city = d.one(s["cities"])
    says = "Submit the form for {} in {}, agreed|为{}填表并提交，城市是{}，同意条款"
    return _submitted(d, s, says, [city], ["go:city", f'set:city:"{city}"', "back"], {"city": city})


def register_with_guests(d: Draw, s: State) -> Task:
    guests = d.rng.randint(2, 4)
    says = "Submit the form for {} with {} guests, agreed|为{}填表并提交，人数 {}，同意条款"
    return _submitted(d, s, says, [guests], ["add:guests:1"] * (guests - 1), {"guests": guests})


def address(d: Draw, s: State) -> Task:
    text = d.one(STREETS)
    says = "Enter the address “{}”, do not submit|填写地址“{}”，不要提交"
    return d.task(says, [text], _write("address", text), {"address": text})


def remark(d: Draw, s: State) -> Task:
    text = d.one(TEXTS)
    return d.task(
        "Enter the remark “{}”, do not submit|填写备注“{}”，不要提交", [text], _write("remark", text), {"remark": text}
    )


def meal(d: Draw, s: State) -> Task:
    name = d.one(s["meals"])
    steps = ["go:meal", f'set:meal:"{name}"']
    return d.task("Choose the meal “{}”, do not submit|餐食选“{}”，不要提交", [name], steps, {"meal": name})


def extras(d: Draw, s: State) -> Task:
    wants = {"newsletter": True, "parking": True}
    says = "Tick newsletter and parking, do not submit|勾选订阅通讯和需要停车位，不要提交"
    return d.task(says, [], [f"flip:{name}" for name in wants], wants)


def correct(d: Draw, s: State) -> Task:
    """A name that is there already is replaced."""
    s["name"] = d.one(NAMES)
    name = d.one(NAMES, [s["name"]])
    says = "Change the name in the form to {}, do not submit|把表格里的姓名改为{}，不要提交"
    return d.task(says, [name], ["clear:name", f"type:{name}"], {"name": name})


def empty(d: Draw, s: State) -> Task:
    s.update(name=d.one(NAMES), phone=_phone(d), guests=d.rng.randint(2, 5), parking=True)
    wants = {"name": "", "phone": "", "guests": 1, "parking": False}
    return d.task("Clear the whole form|清空整张表格", [], ["ask:empty", "empty:"], wants)


def withdraw(d: Draw, s: State) -> Task:
    n = d.pick(s["sent"])
    steps = ["go:sent", f"go:one:{n}", f"ask:del:sent.{n}", f"del:sent.{n}"]
    return d.task(
        "Withdraw the form sent for {}|撤回为{}提交的表格", [s["sent"][n]["name"]], steps, {f"sent.{n}": GONE}
    )


def no_city(d: Draw, s: State) -> Task:
    said = [_who(d, s), d.one(CITIES, s["cities"])]
    says = "Submit the form for {} in {}, agreed|为{}填表并提交，城市是{}，同意条款"
    return d.task(says, said, ["go:city"])


TEMPLATES = (
    register, register_by_phone, register_in_city, register_with_guests, address, remark, meal, extras, correct, empty,
    withdraw, no_city,
)  # fmt: skip
