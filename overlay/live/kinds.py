"""The kinds of pages that there are, by name; another's own by the name of a module that has them as `PAGES`."""

from importlib import import_module

from overlay.errors import SettingError
from overlay.live.apps.environment import PAGES as APPS
from overlay.live.environment import Pages
from overlay.live.miniwob.environment import PAGES as MINIWOB
from overlay.live.phone.environment import PAGES as PHONE

PAGES: dict[str, Pages] = {"miniwob": MINIWOB, "phone": PHONE, "apps": APPS}


def pages_of(name: str, flag: str = "--live_pages") -> Pages:
    """The pages of a kind, or those of a module (a name with a dot), which is imported. SettingError for others, said
    of `flag`."""
    if name in PAGES:
        return PAGES[name]
    if not all(part.isidentifier() for part in name.split(".")) or "." not in name:
        known = ", ".join(PAGES)
        raise SettingError(f"{flag} {name}: unknown (known: {known}, or a module in a package that has PAGES)")
    try:
        found = import_module(name).PAGES
    except Exception as error:  # whatever a module of the user does when it is imported
        raise SettingError(f"{flag} {name}: {type(error).__name__}: {error}") from error
    if not isinstance(found, Pages) or isinstance(found.tasks, str):
        raise SettingError(f"{flag} {name}: PAGES is no overlay.live.environment.Pages with a tuple of tasks")
    return found
