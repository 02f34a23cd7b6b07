"""docs/arguments.md: every argument of all backends, and whether it works or is refused.

python -m tools.arguments          writes it anew; tests/backends/test_arguments.py compares
"""

import argparse
import ast
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

import transformers
import trl
from trl import TrlParser

from overlay.backends.sft.arguments import ARGUMENTS as SFT
from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.vlm_r1 import hooks
from overlay.needs import NEEDS, OF_METHODS
from overlay.patching.submodule import Submodule
from overlay.refused import REFUSED

DOCS = Path(__file__).parents[1] / "docs" / "arguments.md"
OVERLAY = Path(hooks.__file__).parents[2]
ROOMS = ("data", "rewards", "model", "training")  # that code of both backends lies in
HF, TRL = Path(transformers.__file__).parent, Path(trl.__file__).parent
HOLDERS = {
    "args", "training_args", "script_args", "model_args", "data", "judge", "model", "own", "settings", "self",
    "arguments", "budget", "options", "training",
}  # fmt: skip
HEAD = """# Every argument of all backends

Made by `python -m tools.arguments`, which a test compares with this file. *works*: read by the code that
trains (transformers' Trainer, TRL, VLM-R1 with its patches, or this project). *refused*: a value other than its default
would do nothing, so it ends the run in one line before the model loads. –: the backend has no such argument, and its
parser says so. *taken*: passed by launchers and of no consequence (VLM-R1's pass `--dataset_name`, DeepSpeed's
`--local_rank`): rows come from `--data_file_paths`, ranks from the environment. *needs*: without that it would do
nothing, and is refused as well (`overlay/needs.py`).

| argument | trl | vlm-r1 | sft | needs, or why refused |
|---|---|---|---|---|
"""
BACKENDS = ("trl", "vlm-r1", "sft")
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


def sources(backend: str, upstream: Path) -> list[Path]:
    """The files that run: of transformers, of this project, and of one backend."""
    common = [*HF.glob("trainer*.py"), *HF.glob("training_args.py"), *(HF / "integrations").glob("*.py")]
    common += [
        *(TRL / "trainer" / name for name in ("utils.py", "callbacks.py")),
        *OVERLAY.glob("*.py"),
        *(file for room in ROOMS for file in (OVERLAY / room).rglob("*.py")),
        *(OVERLAY / "backends" / backend.replace("-", "_")).glob("*.py"),
    ]
    if backend == "sft":
        return [*common, OVERLAY / "backends" / "trl" / "train.py"]  # its adapter is made there
    if backend == "trl":
        return [*common, *(TRL / "trainer").glob("grpo_*.py"), TRL / "trainer" / "base_trainer.py"]
    root = upstream / "src" / "open_r1"
    return [*common, root / "grpo_jsonl.py", root / "trainer" / "grpo_trainer.py", *(root / "vlm_modules").glob("*.py")]


def classes(backend: str, upstream: Path) -> list[type]:
    """The dataclasses of a backend's command line."""
    if backend != "vlm-r1":
        return list(SFT if backend == "sft" else ARGUMENTS)
    if str(upstream / "src") not in sys.path:
        sys.path.insert(0, str(upstream / "src"))
    from open_r1 import grpo_jsonl as script  # pyright: ignore[reportMissingImports]  (the submodule may be absent)

    own = script.GRPOScriptArguments, script.GRPOConfig, script.GRPOModelConfig
    return list(hooks.parser(TrlParser, *own).dataclass_types)


def statuses(backend: str, upstream: Path) -> dict[str, str]:
    """Argument → works, refused, taken or UNREAD, of one backend."""
    read = {name for file in sources(backend, upstream) for name in attributes_read(file)}
    kinds = classes(backend, upstream)  # makes VLM-R1 importable
    if backend == "vlm-r1":
        from overlay.backends.vlm_r1.trainer import SAMPLING

        read |= set(SAMPLING)

    def status(name: str) -> str:
        if name in REFUSED[backend]:
            return "refused"
        return "works" if name in read else "taken" if name in FROM_LAUNCHERS else "UNREAD"

    return {field.name: status(field.name) for kind in kinds for field in fields(kind) if field.init}


def table(upstream: Path) -> str:
    """The whole of docs/arguments.md."""
    found = {backend: statuses(backend, upstream) for backend in BACKENDS}
    lines = []
    for name in sorted(set().union(*found.values())):
        reasons = sorted({REFUSED[b][name] for b in BACKENDS if name in REFUSED[b] and name in found[b]})
        reasons += [f"needs {need.words}" for need in (*NEEDS, *OF_METHODS) if name in need.flags and not reasons]
        columns = " | ".join(found[backend].get(name, "–") for backend in BACKENDS)
        lines.append(f"| `--{name}` | {columns} | {'; '.join(reasons)} |")
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    argparse.ArgumentParser(description=str(__doc__).splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Submodule().unpack(Path(folder), "src/open-r1-multimodal")
        DOCS.write_text(table(Path(folder) / "src" / "open-r1-multimodal"), encoding="utf-8")
