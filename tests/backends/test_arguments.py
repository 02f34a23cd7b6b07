"""Every argument of both backends works or is refused, and docs/arguments.md says which."""

from contextlib import nullcontext
from dataclasses import dataclass

import pytest

from overlay.backends.trl.arguments import ARGUMENTS
from overlay.errors import SettingError
from overlay.refused import REFUSED, defaults, refuse
from tools.arguments import DOCS, classes, table


def test_the_table_is_that_of_the_docs_and_nothing_is_ignored(upstream):
    made = table(upstream)
    assert "UNREAD" not in made, [line for line in made.splitlines() if "UNREAD" in line]
    assert DOCS.read_text(encoding="utf-8") == made, "python -m tools.arguments writes it anew"


def other_than(default):
    """A value that is not the default."""
    return not default if isinstance(default, bool) else "other"


def made(kind):
    """An arguments object with its defaults, as the parser leaves it; not checked."""
    value = object.__new__(kind)
    for name, default in defaults(kind).items():
        object.__setattr__(value, name, default)
    return value


@pytest.mark.parametrize("backend", REFUSED)
def test_what_is_refused_is_refused(backend, upstream):
    kinds = classes(backend, upstream)
    untouched = [made(kind) for kind in kinds]
    refuse(backend, *untouched)
    seen = set()
    for kind in kinds:
        for name, default in defaults(kind).items():
            if name in REFUSED[backend]:
                changed = made(kind)
                setattr(changed, name, other_than(default))
                with pytest.raises(SettingError, match=rf"--{name} .*: not in BACKEND={backend}: "):
                    refuse(backend, changed)
                seen.add(name)
    assert seen == set(REFUSED[backend])


def test_the_configs_own_changes_are_not_taken_for_the_users(tmp_path, monkeypatch):
    """TrainingArguments rewrites some of its fields (do_eval, fsdp ...)."""
    args = ARGUMENTS[1](output_dir=str(tmp_path), use_cpu=True, bf16=False, eval_strategy="epoch", eval_steps=1)
    refuse("trl", args)


@pytest.mark.parametrize(
    ("fsdp", "config", "refused"),
    [
        ("", None, None),
        ([], {"min_num_params": 0, "xla": False}, None),  # transformers 4.49 writes this for the defaults
        (["full_shard"], None, r"--fsdp \['full_shard'\]: not in BACKEND=vlm-r1"),
        ([], {"min_num_params": 0, "xla": True}, "--fsdp_config .*: not in BACKEND=vlm-r1"),
    ],
)
def test_an_older_releases_empty_settings_are_not_taken_for_the_users(fsdp, config, refused):
    @dataclass
    class Old:
        fsdp: object = ""
        fsdp_config: dict | None = None

    with pytest.raises(SettingError, match=refused) if refused else nullcontext():
        refuse("vlm-r1", Old(fsdp, config))
