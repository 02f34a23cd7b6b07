"""Each patch is still needed at the pin: a test here fails when its `Drop when` has come true, and then the patch goes.

That a patch applies says that its lines are still there; this says that what is wrong with them still is.
"""

import ast
import re

import pytest

from overlay.backends.vlm_r1 import hooks
from overlay.errors import Refused
from overlay.patching.submodule import Submodule

PACKAGE = "src/open-r1-multimodal"
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def series():
    submodule = Submodule()
    try:
        submodule.initialise()
    except Refused as refused:
        pytest.skip(f"NEEDS VLM-R1: {refused}")
    return submodule


@pytest.fixture(scope="module")
def at_pin(series):
    """Function: a file of upstream's package at the pin, as text."""
    return lambda path: series.git("cat-file", "blob", f"{series.pin()}:{PACKAGE}/{path}")


def fails_without_glm(at_pin):
    """Upstream requires a release before Glm4v, so its own pins cannot import this."""
    major, minor = map(int, re.search(r'"transformers==(\d+)\.(\d+)', at_pin("setup.py")).groups())
    assert "from transformers import Glm4v" in at_pin("src/open_r1/vlm_modules/glm_module.py")
    return (major, minor) < (4, 53)


def fails_to_import(at_pin):
    """The file as it is, on the transformers that is installed."""
    with pytest.raises(ImportError, match="Qwen2_5_VLVisionFlashAttention2"):
        exec(at_pin("src/open_r1/qwen2_5vl_monkey_patch.py"), {})
    return True


def imports_from_a_package_that_is_none(at_pin):
    tree = ast.parse(at_pin("src/open_r1/grpo_jsonl.py"))
    return "utils.math" in {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def script_reads_its_files_itself(at_pin):
    script = at_pin("src/open_r1/grpo_jsonl.py")
    return "with open(data_file" in script and "trainer_cls = VLMGRPOTrainer" in script


def script_chooses_by_the_path(at_pin):
    return "in model_name_or_path.lower()" in at_pin("src/open_r1/grpo_jsonl.py")


def knows_one_loss(at_pin):
    return not any("loss_type" in at_pin(f"src/open_r1/trainer/grpo_{name}.py") for name in ("config", "trainer"))


def ends_as_the_interpreter_does(at_pin):
    return at_pin("src/open_r1/grpo_jsonl.py").rstrip().endswith("main(script_args, training_args, model_args)")


NEEDED = {
    "0001-import-glm-where-it-exists.patch": fails_without_glm,
    "0002-replace-only-what-exists.patch": fails_to_import,
    "0003-import-math-from-the-package.patch": imports_from_a_package_that_is_none,
    "0004-take-rows-and-trainer.patch": script_reads_its_files_itself,
    "0005-take-module-rewards-and-flags.patch": script_chooses_by_the_path,
    "0006-hand-over-token-losses.patch": knows_one_loss,
    "0007-end-without-clearing-the-interpreter.patch": ends_as_the_interpreter_does,
}


@pytest.mark.parametrize("patch", NEEDED)
def test_the_reason_holds(patch, at_pin):
    assert NEEDED[patch](at_pin), f"{patch} can be dropped: see its header"


def test_every_patch_has_such_a_test(series):
    assert [patch.path.name for patch in series.patches] == list(NEEDED)


def test_every_hook_that_upstream_calls_is_there_and_no_other(series):
    called = set(re.findall(r"^\+.*\bhooks\.(\w+)", "".join(patch.text for patch in series.patches), re.MULTILINE))
    assert called == {"prepare", "rewards", "by_model_type", "parser", "end"}
    assert all(callable(getattr(hooks, name)) for name in called)
