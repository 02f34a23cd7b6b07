"""The apps by name, and their tasks: "app-template"."""

import random
from dataclasses import dataclass
from types import ModuleType

from overlay.live.apps import alarm, calendar, files, form, maps, messages, notes, settings, shop, video
from overlay.live.apps.tasks import LANGUAGES, Draw, State, Task, Template

APPS: dict[str, ModuleType] = {
    "messages": messages, "settings": settings, "shop": shop, "map": maps, "video": video, "alarm": alarm, "form": form,
    "files": files, "notes": notes, "calendar": calendar,
}  # fmt: skip
TASKS: dict[str, tuple[str, Template]] = {
    f"{app}-{template.__name__.replace('_', '-')}": (app, template)
    for app, module in APPS.items()
    for template in module.TEMPLATES
}
HELD_OUT_APPS = ("notes", "calendar")
HELD_OUT_TEMPLATES = (
    "messages-pass-on", "settings-private", "settings-no-tone", "alarm-all-off", "shop-add-cheaper", "map-nearest",
    "video-comment", "form-correct", "files-delete-largest",
)  # fmt: skip
HELD_OUT = tuple(name for name, (app, _) in TASKS.items() if app in HELD_OUT_APPS or name in HELD_OUT_TEMPLATES)


@dataclass(frozen=True)
class Drawn:
    """A task of a seed with the state that it begins in."""

    app: str
    title: str
    lang: str
    start: State
    task: Task


def draw(name: str, seed: int) -> Drawn:
    """The task of a name; seeds alternate between the languages."""
    app, template = TASKS[name]
    d = Draw(random.Random(f"{name} {seed}"), LANGUAGES[seed % len(LANGUAGES)])
    state = APPS[app].start(d)
    task = template(d, state)
    return Drawn(app, d.t(APPS[app].TITLE), d.lang, state, task)
