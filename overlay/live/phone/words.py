"""The words and icons on our pages, in two languages, and which labels training never sees.

A label is two words. Every word stands in training; a quarter of the pairs (`held_out`) stands in none of it, and a
label's neighbours on a page share one of its words, so that both have to be read.
"""

import random
import zlib
from collections.abc import Sequence

_FIRST = {
    "en": (
        "Red Blue Green Gold Black White Old New Big Small Fast Slow Hot Cold Deep High "
        "Long Short Soft Hard Dry Wet Dark Light Sweet Sour Loud Calm Rich Poor Wild Tame"
    ),
    "zh": (
        "红色 蓝色 绿色 金色 黑色 白色 古老 全新 巨大 微小 快速 缓慢 "
        "炎热 寒冷 深远 高级 长久 短暂 柔软 坚硬 干燥 湿润 明亮 阴暗"
    ),
}
_SECOND = {
    "en": (
        "Lake River Road House Tree Stone Bird Fish Horse Cloud Star Moon Sun Sand Snow Rain "
        "Wind Fire Bread Milk Tea Salt Rice Book Film Song Game Map Clock Phone Train Plane"
    ),
    "zh": (
        "湖泊 河流 道路 房屋 树木 石头 小鸟 海鱼 骏马 云彩 星星 月亮 "
        "太阳 沙滩 雪山 雨水 面包 牛奶 茶叶 食盐 书籍 电影 歌曲 地图"
    ),
}
_SINGLE = {
    "en": ("OK Cancel Save Send Open Share Copy Edit Back Next Home Mail Chat Shop News Music Photo Files Notes Alarm"),
    "zh": ("确定 取消 保存 发送 打开 分享 复制 编辑 返回 继续 首页 邮件 聊天 商店 新闻 音乐 照片 文件 笔记 闹钟"),
}
FIRST, SECOND, SINGLE = ({lang: words.split() for lang, words in table.items()} for table in (_FIRST, _SECOND, _SINGLE))
# Name of each icon in both languages, and its path in a box of 24 x 24.
ICONS = {
    "heart": ("爱心", "M12 21 C4 14 2 10 4 6 C6 3 10 3 12 7 C14 3 18 3 20 6 C22 10 20 14 12 21Z"),
    "bin": ("垃圾桶", "M4 6H20V8H18V21H6V8H4Z M9 3H15V6H9Z"),
    "plus": ("加号", "M10 3H14V10H21V14H14V21H10V14H3V10H10Z"),
    "minus": ("减号", "M3 10H21V14H3Z"),
    "arrow": ("箭头", "M12 2L22 13H15V22H9V13H2Z"),
    "disc": ("圆点", "M12 3A9 9 0 1 0 12.1 3Z"),
    "square": ("方块", "M4 4H20V20H4Z"),
    "triangle": ("三角", "M12 3L22 20H2Z"),
    "cross": ("叉号", "M5 2L12 9L19 2L22 5L15 12L22 19L19 22L12 15L5 22L2 19L9 12L2 5Z"),
    "menu": ("菜单", "M3 4H21V8H3Z M3 10H21V14H3Z M3 16H21V20H3Z"),
    "flag": ("旗帜", "M4 2H7V3H21L17 8L21 13H7V22H4Z"),
    "bell": ("铃铛", "M12 2C7 3 6 8 6 12L3 18H21L18 12C18 8 17 3 12 2Z M9 19H15V22H9Z"),
}
LANGUAGES = ("en", "zh")
LETTERS = [chr(code) for code in range(ord("A"), ord("Z") + 1)]
DIGITS = [str(n) for n in range(10)]
DAYS = [str(n) for n in range(1, 31)]


def icon_name(icon: str, lang: str) -> str:
    """What an icon is called in a task's text."""
    return icon if lang == "en" else ICONS[icon][0]


def held_out(first: str, second: str) -> bool:
    """Whether a pair of words stands in held-out steps only."""
    return zlib.crc32(f"{first} {second}".encode()) % 4 == 0


def joined(first: str, second: str, lang: str) -> str:
    """A label as a task's text has it."""
    return f"{first} {second}" if lang == "en" else first + second


def parted(name: str, lang: str) -> tuple[str, str] | None:
    """A label's words again; None for a name that is no label."""
    for first in FIRST[lang]:
        rest = name.removeprefix(first).strip()
        if name.startswith(first) and rest in SECOND[lang]:
            return first, rest
    return None


def labels(
    rng: random.Random, lang: str, count: int, unseen: bool, shared: Sequence[tuple[str, str]] = ()
) -> list[tuple[str, str]]:
    """`count` different labels, some of `shared` among them. The first of the others is one that training sees, or one
    that it does not (`unseen`); the next two share a word with it."""
    while True:
        target = rng.choice(FIRST[lang]), rng.choice(SECOND[lang])
        if held_out(*target) is unseen:
            break
    found = [target, *rng.sample(shared, min(len(shared), count // 2))]
    kept = len(found)
    found = list(dict.fromkeys(found))
    while len(found) < count:
        first, second = rng.choice(FIRST[lang]), rng.choice(SECOND[lang])
        if len(found) == kept:
            first = target[0]
        elif len(found) == kept + 1:
            second = target[1]
        if (first, second) not in found and (unseen or not held_out(first, second)):
            found.append((first, second))
    return found


UNSEEN = frozenset(
    joined(first, second, lang)
    for lang in LANGUAGES for first in FIRST[lang] for second in SECOND[lang] if held_out(first, second)
)  # fmt: skip


def vocabulary() -> list[str]:
    """Every word that can stand on a page, each once."""
    words = [word for table in (FIRST, SECOND, SINGLE) for lang in LANGUAGES for word in table[lang]]
    return list(dict.fromkeys([*words, *ICONS, *(name for name, _ in ICONS.values()), *LETTERS, *DIGITS, *DAYS]))
