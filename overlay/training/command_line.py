"""The trainers' parser of a command line, with refusals of one line."""

from collections.abc import Iterable
from typing import Any

from overlay.errors import SettingError, nearest, nearest_flag, refused_as_settings


def one_line(parser: type) -> type:
    """TRL's parser class, which raises SettingError instead of ending the process with a page of usage or a traceback:
    for a flag that is not known (with the nearest that is; a beginning of a flag is none), a value that cannot be,
    settings that the argument classes refuse, and a --config file that cannot be read."""

    class Parser(parser):
        def __init__(self, *kinds: Any, **options: Any):
            super().__init__(*kinds, **{"allow_abbrev": False, **options})

        def error(self, message: str) -> Any:
            raise SettingError(message + nearest_flag(message, self))

        def parse_args_into_dataclasses(
            self, args: Iterable[str] | None = None, return_remaining_strings: bool = False, **options: Any
        ) -> Any:
            *made, left = super().parse_args_into_dataclasses(args=args, return_remaining_strings=True, **options)
            if return_remaining_strings:
                return (*made, left)
            if left:
                known = [name for action in self._actions for name in action.option_strings]
                word = next((each for each in left if each.startswith("-")), left[0])
                raise SettingError(f"{word} is no flag of this trainer{nearest(word.partition('=')[0], known)}")
            return tuple(made)

        def parse_args_and_config(self, *args: Any, **options: Any) -> Any:
            with refused_as_settings(ValueError, OSError, ImportError):
                return super().parse_args_and_config(*args, **options)

    return Parser
