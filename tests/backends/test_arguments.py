"""Every argument of both backends works or is refused; the table in docs/arguments.md is made here.

    python -m tests.backends.test_arguments      writes the table (needs VLM-R1/)

"Works" means: the trainer's code reads it from the arguments (looked up in the sources that run, not in the classes
that declare it). "Refused" means: it stands in overlay/refused.py, and a value other than its default ends the run with
a line that names it. An argument that is neither fails the test.
"""

import ast
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import transformers
import trl

from overlay.backends.trl.train import ARGUMENTS
from overlay.backends.vlm_r1 import hooks
from overlay.errors import SettingError
from overlay.patching.submodule import Submodule
from overlay.refused import REFUSED, defaults, refuse

DOCS = Path(__file__).parents[2] / "docs" / "arguments.md"
OVERLAY = Path(hooks.__file__).parents[2]
ROOMS = ("data", "rewards", "model", "training")  # that code of both backends lies in
HF, TRL = Path(transformers.__file__).parent, Path(trl.__file__).parent
HOLDERS = {
    "args", "training_args", "script_args", "model_args", "data", "judge", "model", "own", "settings", "self",
    "arguments", "budget",
}  # fmt: skip
HEAD = """# Every argument of both backends

Made by `python -m tests.backends.test_arguments`, which a test compares with this file. *works*: read by the code that
trains (transformers' Trainer, TRL, VLM-R1 with its patches, or this project). *refused*: a value other than its default
would do nothing, so it ends the run in one line before the model loads. –: the backend has no such argument, and its
parser says so. *taken*: passed by launchers and of no consequence (VLM-R1's pass `--dataset_name`, DeepSpeed's
`--local_rank`): rows come from `--data_file_paths`, ranks from the environment.

| argument | trl | vlm-r1 | why refused |
|---|---|---|---|
"""
FROM_LAUNCHERS = {"dataset_name", "local_rank"}  # see HEAD


def attributes_read(file: Path) -> set[str]:
    """Names that a source file reads from an arguments object: `args.name`, `self.args.name`, `getattr(args, "n")`."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            holder, name = node.value, node.attr
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr"
            and len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
        ):  # fmt: skip
            holder, name = node.args[0], node.args[1].value
        else:
            continue
        last = getattr(holder, "attr", getattr(holder, "id", None))
        if last in HOLDERS:
            found.add(name)
    return found


def sources(upstream: Path | None) -> list[Path]:
    """The files that run: of transformers, of this project, and of one backend."""
    common = [*HF.glob("trainer*.py"), *HF.glob("training_args.py"), *(HF / "integrations").glob("*.py")]
    common += [
        *(TRL / "trainer" / name for name in ("utils.py", "callbacks.py")),
        *OVERLAY.glob("*.py"),
        *(file for room in ROOMS for file in (OVERLAY / room).rglob("*.py")),
        *(OVERLAY / "backends" / ("trl" if upstream is None else "vlm_r1")).glob("*.py"),
    ]
    if upstream is None:
        return [*common, *(TRL / "trainer").glob("grpo_*.py"), TRL / "trainer" / "base_trainer.py"]
    root = upstream / "src" / "open_r1"
    return [*common, root / "grpo_jsonl.py", root / "trainer" / "grpo_trainer.py", *(root / "vlm_modules").glob("*.py")]


def classes(upstream: Path | None) -> list[type]:
    """The dataclasses of a backend's command line."""
    if upstream is None:
        return list(ARGUMENTS)
    if str(upstream / "src") not in sys.path:
        sys.path.insert(0, str(upstream / "src"))
    from open_r1 import grpo_jsonl as script

    return [hooks.script_arguments(script.GRPOScriptArguments), script.GRPOConfig, script.GRPOModelConfig]


def statuses(backend: str, upstream: Path | None) -> dict[str, str]:
    """Argument → works, refused, taken or UNREAD, of one backend."""
    from overlay.backends.vlm_r1.trainer import SAMPLING

    read = {name for file in sources(upstream) for name in attributes_read(file)} | set(SAMPLING)

    def status(name: str) -> str:
        if name in REFUSED[backend]:
            return "refused"
        return "works" if name in read else "taken" if name in FROM_LAUNCHERS else "UNREAD"

    return {field.name: status(field.name) for kind in classes(upstream) for field in fields(kind) if field.init}


def table(upstream: Path) -> str:
    """The whole of docs/arguments.md."""
    trl_, vlm = statuses("trl", None), statuses("vlm-r1", upstream)
    lines = []
    for name in sorted(trl_ | vlm):
        reasons = {REFUSED[b][name] for b in REFUSED if name in REFUSED[b] and name in {"trl": trl_, "vlm-r1": vlm}[b]}
        lines.append(f"| `--{name}` | {trl_.get(name, '–')} | {vlm.get(name, '–')} | {'; '.join(sorted(reasons))} |")
    return HEAD + "\n".join(lines) + "\n"


def test_the_table_is_that_of_the_docs_and_nothing_is_ignored(upstream):
    made = table(upstream)
    assert "UNREAD" not in made, [line for line in made.splitlines() if "UNREAD" in line]
    assert DOCS.read_text(encoding="utf-8") == made, "python -m tests.backends.test_arguments writes it anew"


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
def test_what_is_refused_is_refused(backend, request):
    kinds = classes(None if backend == "trl" else request.getfixturevalue("upstream"))
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


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        Submodule().unpack(Path(folder), "src/open-r1-multimodal")
        DOCS.write_text(table(Path(folder) / "src" / "open-r1-multimodal"), encoding="utf-8")
