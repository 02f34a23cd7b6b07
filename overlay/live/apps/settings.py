"""Settings of a phone."""

from overlay.live.apps.tasks import Draw, State, Task
from overlay.live.apps.words import NAMES

TITLE = "Settings|设置"
NETWORKS = ("Home-5G", "Cafe Blue", "Office", "Library", "Station", "Hotel-7")
TONES = ("Drops|水滴", "Bells|铃铛", "Waves|海浪", "Morning|清晨", "Piano|钢琴", "Birds|鸟鸣")
SWITCHES = {
    "wifi": ("network", "Wi-Fi|无线网络"), "bluetooth": ("network", "Bluetooth|蓝牙"),
    "airplane": ("network", "airplane mode|飞行模式"), "saver": ("network", "data saver|省流量"),
    "vibrate": ("sound", "vibration|振动"), "dark": ("display", "dark mode|深色模式"),
    "location": ("privacy", "location|定位"), "camera": ("privacy", "camera access|相机权限"),
    "microphone": ("privacy", "microphone access|麦克风权限"),
}  # fmt: skip
SIZES = {"small": "small|小", "medium": "medium|中", "large": "large|大"}


def start(d: Draw) -> State:
    """Switches, levels, networks with their passwords."""
    networks, tones = d.some(NETWORKS, 4), d.some(TONES, 4)
    return {
        **{name: d.coin() for name in SWITCHES}, "networks": networks, "joined": d.one([*networks, None]),
        "passwords": [str(d.rng.randint(1000, 9999)) for _ in networks], "tones": tones, "tone": d.one(tones),
        "volume": d.rng.randint(3, 9), "brightness": d.rng.randint(3, 9), "font": d.one(tuple(SIZES)),
        "device": d.one(NAMES) + "-" + str(d.rng.randint(10, 99)),
    }  # fmt: skip


def _switch(d: Draw, s: State, to: bool, pair: str) -> Task:
    name = d.one(tuple(SWITCHES))
    s[name] = not to
    place, title = SWITCHES[name]
    return d.task(pair, [title], [f"go:{place}", f"flip:{name}"], {name: to})


def on(d: Draw, s: State) -> Task:
    return _switch(d, s, True, "Turn {} on|打开{}")


def off(d: Draw, s: State) -> Task:
    return _switch(d, s, False, "Turn {} off|关闭{}")


def on_and_off(d: Draw, s: State) -> Task:
    first, second = d.some(tuple(SWITCHES), 2)
    s[first], s[second] = False, True
    steps = [f"go:{SWITCHES[first][0]}", f"flip:{first}", "back", f"go:{SWITCHES[second][0]}", f"flip:{second}"]
    said = [SWITCHES[first][1], SWITCHES[second][1]]
    return d.task("Turn {} on and {} off|打开{}，关闭{}", said, steps, {first: True, second: False})


def private(d: Draw, s: State) -> Task:
    """All three, whichever are on."""
    names = ("location", "camera", "microphone")
    s[d.one(names)] = True
    steps = ["go:privacy", *(f"flip:{name}" for name in names if s[name])]
    wants: State = dict.fromkeys(names, False)
    return d.task("Turn off everything on the privacy page|关闭隐私页面里的所有开关", [], steps, wants)


def _level(d: Draw, s: State, name: str, place: str, pair: str) -> Task:
    by = d.rng.choice([-2, -1, 1, 2])
    return d.task(
        pair, [s[name] + by], [f"go:{place}", *[f"add:{name}:{by // abs(by)}"] * abs(by)], {name: s[name] + by}
    )


def volume(d: Draw, s: State) -> Task:
    return _level(d, s, "volume", "sound", "Set the volume to {}|把音量调到 {}")


def brightness(d: Draw, s: State) -> Task:
    return _level(d, s, "brightness", "display", "Set the brightness to {}|把亮度调到 {}")


def ringtone(d: Draw, s: State) -> Task:
    tone = d.one(s["tones"], [s["tone"]])
    return d.task("Make {} the ringtone|把铃声换成{}", [tone], ["go:sound", f'set:tone:"{tone}"'], {"tone": tone})


def font(d: Draw, s: State) -> Task:
    size = d.one(tuple(SIZES), [s["font"]])
    steps = ["go:display", f'set:font:"{size}"']
    return d.task("Make the font size {}|把字体大小设为{}", [SIZES[size]], steps, {"font": size})


def join(d: Draw, s: State) -> Task:
    name = d.one(s["networks"], [s["joined"]])
    i = s["networks"].index(name)
    word = s["passwords"][i]
    steps = ["go:network", f"go:join:{i}", "focus:ui.draft", f"type:{word}", f"join:{i}"]
    return d.task("Join the network {}, password {}|加入网络 {}，密码是 {}", [name, word], steps, {"joined": name})


def forget(d: Draw, s: State) -> Task:
    s["joined"] = d.one(s["networks"])
    i = s["networks"].index(s["joined"])
    steps = ["go:network", f"go:join:{i}", "set:joined:null"]
    return d.task("Forget the network that the phone has joined|忘记手机当前连接的网络", [], steps, {"joined": None})


def rename(d: Draw, s: State) -> Task:
    name = d.one(NAMES, [s["device"].split("-")[0]])
    steps = ["go:about", "clear:device", f"type:{name}"]
    return d.task("Rename the phone to {}|把手机改名为{}", [name], steps, {"device": name})


def no_network(d: Draw, s: State) -> Task:
    name = d.one(NETWORKS, s["networks"])
    said = [name, d.rng.randint(1000, 9999)]
    return d.task("Join the network {}, password {}|加入网络 {}，密码是 {}", said, ["go:network"])


def no_tone(d: Draw, s: State) -> Task:
    return d.task("Make {} the ringtone|把铃声换成{}", [d.one(TONES, s["tones"])], ["go:sound"])


TEMPLATES = (
    on, off, on_and_off, private, volume, brightness, ringtone, font, join, forget, rename, no_network, no_tone,
)  # fmt: skip
