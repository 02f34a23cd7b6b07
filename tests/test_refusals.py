"""Wrong inputs of every command: one line that says what, where and what to do, the status, and nothing lost.

`{words}` stand for what the fixture makes. No server listens at the URL, so what is refused is refused before one is
asked; no case gets as far as loading a model.
"""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stock import ROOT, TASKS
from tools.given import goals_of, read_by

DATA, CHECK, SAMPLE, SPLIT = "data_prep.convert", "data_prep.check", "data_prep.sample", "data_prep.split"
IMPORT, EVAL, ASK = "data_prep.sources.__main__", "overlay.evaluate.score", "overlay.serve.ask"
PLAY, SERVE, LOCAL = "overlay.play.run", "overlay.serve.server", "overlay.serve.local"
MERGE, PROCESSOR, ROLLOUTS = "overlay.model.adapter", "overlay.model.processor", "overlay.pages.rollouts"
TRAIN, DEMO, PATCH = "overlay.backends.trl.train", "overlay.demo.run", "overlay.patching.__main__"
SFT = "overlay.backends.sft.train"
SCORED, ASKED = "--url {url} --data {rows} --images {tasks} --out {new}", "--url {url} --images {tasks}"
RUN = (
    "--model_name_or_path {model} --data_file_paths {rows} --image_folders {tasks} --arrow_cache_dir {new} "
    "--task_type gui --output_dir {new} --use_cpu true --bf16 false --per_device_train_batch_size 4 "
    "--num_generations 2 --max_steps 1 "
)
RUN_SFT = RUN.replace("--num_generations 2 ", "")

CASES = [  # module, its command line, how the line begins after the command's name
    (DATA, "{none} --out {new}", "{none}: no such folder (TASKS="),
    (DATA, "{empty} --out {new}", "{empty}: no <task id>/step_<n>.json below it"),
    (DATA, "{tasks} --out {empty}", "--out {empty}: is a folder: give a file"),
    (DATA, "{tasks} --out {new} --workers 0", "--workers 0: a number of at least 1"),
    (DATA, "{tasks} --out {new} --workers two", "argument --workers: invalid int value: 'two'"),
    (DATA, "{tasks} --out /proc/rows.jsonl", "--out /proc: cannot be written"),
    (DATA, "{tasks} --out {new} --prompt {none}", "PROMPT: prompt template '{none}' is neither"),
    (DATA, "{tasks} --out {new} --promtp x", "unrecognized arguments: --promtp x: did you mean --prompt?"),
    (DATA, "{tasks} --out {new} --on-error ignore", "argument --on-error: invalid choice: 'ignore'"),
    (DATA, "{tasks} --out {new} --report {empty}", "--report {empty}: is a folder: give a file"),
    (DATA, "{tasks} --out {file}/rows.jsonl", "--out {file}: cannot be written"),
    (CHECK, "{none} --images {tasks}", "{none}: no such file (DATA=)"),
    (CHECK, "{rows} --images {none}", "{none}: no such folder (IMAGES=)"),
    (
        CHECK,
        "{rows} --images {tasks} --processor {none}",
        "{none}: no model folder, config.json is missing",
    ),
    (CHECK, "{rows} --images {tasks} --workers 0", "--workers 0: a number of at least 1"),
    (CHECK, "{rows} --images {tasks} --max-pixels 0", "--max_pixels 0: a number of at least 3136"),
    (CHECK, "{rows} --images {tasks} --max-pixels 9000", "--max-pixels: needs --processor"),
    (SAMPLE, "{none}", "{none}: no such file (DATA=)"),
    (SAMPLE, "{nothing}", "{nothing}: no rows"),
    (SAMPLE, "{rows} --index 4000", "INDEX=4000: {rows} has rows 0 to 301"),
    (SAMPLE, "{list} --index 0", "{list}: row 0 is no JSON object"),
    (SAMPLE, "{broken} --index 0", "{broken}: row 0 is not JSON"),
    (SAMPLE, "{rows} --index 1 --seed 2", "argument --seed: not allowed with argument --index"),
    (SPLIT, "{rows} --out {file}", "{file}: File exists"),
    (SPLIT, "{binary} --out {new}", "{binary}:1: not JSON"),
    (IMPORT, "nobody {empty} --out {new}", "argument source: invalid choice: 'nobody'"),
    (IMPORT, "aitz {none} --out {new}", "{none}: no such file or folder"),
    (IMPORT, "aitz {empty} --out {empty}", "{empty} is there already"),
    (IMPORT, "aitz {empty} --out {new} --limit -3", "--limit -3: a number of at least 0"),
    (IMPORT, "aitz {empty} --out {file}/x", "--out {file}: cannot be written"),
    (IMPORT, "aitz {empty} --out {new}", "{empty}: no <episode>/<episode>.json under it"),
    (EVAL, "--url {url} --data {none} --images {tasks} --out {new}", "{none}: no such data file (--data)"),
    (EVAL, "--url {url} --data {rows} --images {none} --out {new}", "{none}: no such image folder (--images)"),
    (EVAL, "--url {url} --data {rows}:{rows} --images {tasks} --out {new}", "2 data files but 1 in --images"),
    (EVAL, "--url {url} --data {broken} --images {tasks} --out {new}", "{broken}:1: not JSON"),
    (EVAL, "--url {url} --data {rows} --images {tasks} --out {file}", "--out {file}: cannot be written"),
    (EVAL, "--data {rows} --images {tasks} --out {new}", "give either --model (a folder) or --url (a server)"),
    (EVAL, SCORED + " --model {model}", "give either --model (a folder) or --url (a server)"),
    (
        EVAL,
        "--model {model} --name other --data {rows} --images {tasks} --out {new}",
        "--name other: a model on the server",
    ),
    (EVAL, "--model {empty} --data {rows} --images {tasks} --out {new}", "{empty}: no model folder"),
    (EVAL, "--url nowhere --data {rows} --images {tasks} --out {new}", "'nowhere' is no URL of a server"),
    (EVAL, SCORED + " --concurrency 0", "--concurrency 0: a number of at least 1"),
    (EVAL, SCORED + " --max_tokens 0", "--max_tokens 0: a number of at least 1"),
    (EVAL, SCORED + " --temperature -1", "--temperature -1.0: a number of at least 0"),
    (EVAL, SCORED + " --timeout nan", "--timeout nan: a number of at least 0.001"),
    (EVAL, SCORED + " --compare {empty}", "--compare {empty}: no rows.csv there"),
    (EVAL, SCORED + " --rule nearly", "argument --rule: invalid choice: 'nearly'"),
    (EVAL, SCORED + " --style {empty}", "--style {empty}: no prompt_style.json there"),
    (EVAL, SCORED + " --min_pixels 9000 --max_pixels 5000", "--min_pixels 9000 and --max_pixels 5000: 0 < least"),
    (EVAL, SCORED + " --concurr 2", "unrecognized arguments: --concurr 2: did you mean --concurrency?"),
    (EVAL, SCORED + " --protocoll x", "unrecognized arguments: --protocoll x: did you mean --protocol?"),
    (ASK, "--images {tasks} --data {rows}", "--url is missing"),
    (ASK, ASKED, "give a data file (--data"),
    (ASK, "--url {url} --images {none} --data {rows}", "--images {none}: no such folder"),
    (ASK, "--url {url} --images {empty} --data {rows}", "--images: image not found: {empty}/"),
    (ASK, ASKED + " --data {none}", "--data {none}: no such file"),
    (ASK, ASKED + " --task {none}", "--task {none}: no such file"),
    (ASK, ASKED + " --task {list}", "--task: neither a step file nor its input"),
    (ASK, ASKED + " --data {rows} --index 4000", "{rows}: no row 4000"),
    (ASK, ASKED + " --task {list} --index 2", "--index 2: a row of --data; a step file is one step"),
    (ASK, ASKED + " --data {rows} --index -1", "--index -1: a number of at least 0"),
    (ASK, ASKED + " --data {rows} --out {new}.txt", "--out {new}.txt: a picture's name"),
    (PLAY, "--url {url} --out {new} --tasks", "--tasks: name at least one"),
    (PLAY, "--url {url} --out {new} --tasks chess", "--tasks chess: unknown (known: "),
    (PLAY, "--url {url} --out {new} --episodes 0", "--episodes 0: a number of at least 1"),
    (PLAY, "--url {url} --out {new} --retries -1", "--retries -1: a number of at least 0"),
    (PLAY, "--out {new}", "give either --model (a folder) or --url (a server)"),
    (PLAY, "--model {none} --out {new}", "{none}: no model folder"),
    (SERVE, "{none}", "{none}: no model folder"),
    (SERVE, "{model} --port 99999", "port 99999: ports are numbers up to 65535"),
    (SERVE, "{model} --images 0", "--images 0: a number of at least 1"),
    (LOCAL, "{model}", "give one of --data, --question and --refer"),
    (LOCAL, "{model} --question x --index 3", "--index: needs --data"),
    (LOCAL, "{model} --question x --images {tasks}", "--images: needs --data"),
    (LOCAL, "{model} --data {rows} --image a.png", "--image: needs --question or --refer"),
    (SERVE, "{model} --backend transformers --images 3", "--images 3: needs vLLM"),
    (MERGE, "{none} {new}", "{none}: no adapter_config.json"),
    (PROCESSOR, "{none} {new}", "{none}: no model folder"),
    (PROCESSOR, "{model} {empty}", "{empty} is there already"),
    (PROCESSOR, "{model} {new} --max_pixels 5", "--max_pixels 5: a number of at least 3136"),
    (ROLLOUTS, "{empty}", "{empty}/rollouts: no rollouts"),
    (DEMO, "--out {new} --seeds 0", "--seeds 0: a number of at least 1"),
    (DEMO, "--out {new} --steps 0", "--steps 0: a number of at least 1"),
    (DEMO, "--out {file}", "--out {file}: cannot be written"),
    (PATCH, "upstream-move -- --help", "TO=--help: a full hash"),
    (PATCH, "status extra", "extra: status takes nothing more"),
    (PATCH, "upgrade", "argument command: invalid choice: 'upgrade'"),
    (PATCH, "new ../x", "NAME=../x: give <area>-<what it does>"),
    (TRAIN, RUN + "--learnin_rate 3", "--learnin_rate is no flag of this trainer: did you mean --learning_rate?"),
    (TRAIN, RUN + "--max_step 3", "--max_step is no flag of this trainer: did you mean --max_steps?"),
    (TRAIN, RUN + "--learning-rat=3", "--learning-rat=3 is no flag of this trainer: did you mean --learning-rate?"),
    (SFT, RUN_SFT + "--max_step 3", "--max_step is no flag of this trainer: did you mean --max_steps?"),
    (SFT, RUN_SFT + "--num_train_epochs two", "argument --num_train_epochs/--num-train-epochs: invalid float value"),
    (TRAIN, RUN + "--learning_rate fast", "argument --learning_rate/--learning-rate: invalid float value: 'fast'"),
    (TRAIN, RUN + "--episode_steps 3", "--episode_steps: needs --episodes semi-online or live: give that too"),
    (TRAIN, RUN + "--vllm_server_port 3", "--vllm_server_port: needs --use_vllm true --vllm_mode server"),
    (TRAIN, RUN + "--judge_model m", "--judge_model: needs --reward_method llm (or rows with that method)"),
    (TRAIN, RUN + "--eval_data_file_paths {rows}", "--eval_data_file_paths: needs --eval_strategy steps or epoch"),
    (TRAIN, RUN + "--episodes live --live_seeds 100001", "--live_seeds 100001: at most 100000, for make play asks"),
    (TRAIN, RUN + "--log_completions true --least_blame 0.5", "--log_completions: its table has the advantages from"),
    (TRAIN, RUN + "--lora_r 8", "--lora_r: needs --use_peft true"),
    (TRAIN, RUN + "--overlong shrink", "--overlong: needs --max_prompt_length"),
    (TRAIN, RUN + "--difficulty 0.1:0.9", "--difficulty 0.1:0.9: no row has a difficulty: make difficulty"),
    (SFT, RUN_SFT + "--direct_share 0.5", "--direct_share: needs rows with thinking, and none has any"),
    (SFT, RUN_SFT + "--thinking false --answer_weight 2", "--answer_weight: needs --thinking true"),
    (TRAIN, RUN + "--optim newton", "argument --optim: invalid choice: 'newton'"),
    (TRAIN, RUN + "--loss_type nll", "--loss_type 'nll' is none of grpo, bnpo"),
    (
        TRAIN,
        RUN + "--attn_implementation flash_attention_2",
        "--attn_implementation flash_attention_2: flash-attn",
    ),
    (TRAIN, RUN + "--deepspeed {none}", "Expected a string path to an existing deepspeed config"),
    (TRAIN, RUN + "--config {none}", "[Errno 2] No such file or directory: '{none}'"),
    (TRAIN, RUN + "--use_cpu false --bf16 true", "Your setup doesn't support bf16/gpu"),
    (TRAIN, RUN + "--eval_strategy steps --eval_steps 1", "--eval_strategy steps: there are no held-out rows"),
    (TRAIN, RUN + "--model_name_or_path nobody/nothing", "--model_name_or_path nobody/nothing: no such folder, nor"),
    (TRAIN, RUN + "--model_name_or_path {empty}", "--model_name_or_path {empty}: "),
    (TRAIN, RUN + "--data_file_paths {none}", "{none}: no such data file (--data_file_paths)"),
]
SLOW = [  # these make the trainer
    (TRAIN, RUN + "--report_to telegram", "telegram is not supported, only"),
    (TRAIN, RUN + "--resume_from_checkpoint {none}", "--resume_from_checkpoint {none}: no such folder"),
]

MAKE = [  # goals and variables, how the line begins
    ("data TAKS=a OUT=b", "TAKS=: make data does not read it (did you mean TASKS=?)"),
    ("data OUT=b", "data: set TASKS=<folder of task folders>"),
    ("train GENERATION=4", "GENERATION=: make train does not read it (did you mean GENERATIONS=?)"),
    ("train-multinode MASTER_ADR=x NNODES=2", "MASTER_ADR=: make train-multinode does not read it"),
    ("eval MODEL=a URL=b DATA=c IMAGES=d", "eval: MODEL= and URL=: give one of them"),
    ("infer URL=a IMAGES=b TASK=c INDEX=3", "infer: --index 3: a row of --data; a step file is one step"),
    ("infer URL=a IMAGES=b TASK=c DATA=d", "infer: TASK= and DATA=: give one of them"),
    ("play MODEL=a URL=b", "play: MODEL= and URL=: give one of them"),
    ("eval EPISODES=3 DATA=a IMAGES=b", "EPISODES=: make eval does not read it"),
    ("train GPU_CHECK=a.json", "GPU_CHECK=: make train does not read it"),
    ("sft GENERATIONS=4", "GENERATIONS=: make sft does not read it"),
    ("sft VLLM=1", "VLLM=: make sft does not read it"),
    ("train NNODES=2", "run_grpo_gui.sh: NNODES=2: this is one node's; make train-multinode is of several"),
    ("train EVAL_STEPS=5 NNODES=1", "run_grpo_gui.sh: EVAL_STEPS=5: needs EVAL_DATA, the held-out file"),
    ("sample TASKS=a DATA=b", "TASKS=: make sample does not read it"),
    ("patch VENV=x TO=b", "TO=: make patch does not read it"),
]


def status_of(module, line):
    """The exit status of a case: 1 where the patch series or git is at fault, else 2."""
    return 1 if module == PATCH and line.startswith(("new ", "upstream-move ")) else 2


@pytest.fixture(scope="module")
def words(tmp_path_factory, demo_rows, tiny_model_dir):
    """What stands for the words of the cases."""
    root = tmp_path_factory.mktemp("wrong")
    texts = {"nothing": "", "broken": "{\n", "list": "[1]\n", "file": "kept"}
    for name, text in texts.items():
        (root / name).write_text(text)
    (root / "binary").write_bytes(b"\xff\xfe\x00\n")
    (root / "empty").mkdir()
    made = {name: str(root / name) for name in (*texts, "binary", "empty", "none", "new")}
    shutil.copy(demo_rows, root / "rows")
    return made | {
        "rows": str(root / "rows"), "tasks": str(TASKS / "train"), "model": str(tiny_model_dir),
        "url": "http://127.0.0.1:9/v1",
    }  # fmt: skip


def test_the_document_has_the_table():
    from tools.refusals import DOCS, table

    assert DOCS.read_text(encoding="utf-8") == table(), "python -m tools.refusals writes it anew"


def test_there_are_enough_cases():
    assert len(CASES) + len(SLOW) >= 60
    assert len({(module, line) for module, line, _ in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("module", "line", "message"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_refused_in_one_line(module, line, message, words, capsys, monkeypatch):
    root = Path(words["file"]).parent
    monkeypatch.chdir(root)
    before = {path.name: path.read_bytes() if path.is_file() else sorted(path.iterdir()) for path in root.iterdir()}
    status = importlib.import_module(module).main(line.format(**words).split())
    told = [each for each in capsys.readouterr().err.splitlines() if each.partition(": ")[2]]
    assert status == status_of(module, line)
    name, _, said = told[-1].partition(": ")
    assert said.startswith(message.format(**words)), told[-1]
    assert len(name) < 30  # the command's
    assert not any("Traceback" in each or "usage:" in each for each in told)
    shutil.rmtree(root / "new", ignore_errors=True)
    after = {path.name: path.read_bytes() if path.is_file() else sorted(path.iterdir()) for path in root.iterdir()}
    assert after == before


@pytest.mark.parametrize(("line", "message"), MAKE)
def test_make_refuses_what_it_would_ignore(line, message):
    venv = str(Path(sys.executable).parents[1])
    done = subprocess.run(
        ["make", "-s", "-o", f"{venv}/.ready", *([f"VENV={venv}"] if "VENV" not in line else []), *line.split()],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr


def test_make_takes_what_its_goals_read():
    goals = goals_of((ROOT / "Makefile").read_text())
    assert {"PRESET", "EPOCHS", "DRY_RUN", "ARGS", "MASTER_PORT"} <= read_by("train", goals)
    assert {"PRESET", "EPOCHS", "GPU_CHECK", "NNODES"} <= read_by("estimate", goals)
    assert {"NNODES", "RANK", "MASTER_ADDR", "SLURM_NODEID", "RDZV", "PRESET"} <= read_by("train-multinode", goals)
    assert {"EPOCHS", "PRESET", "COMMAND", "IMAGE"} <= read_by("docker-run", goals)
    assert read_by("sample", goals) == {"DATA", "INDEX", "SEED", "PY", "VENV"}


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["vlm-r1", pytest.param("trl", marks=pytest.mark.long)])
def test_one_line_under_torchrun_on_every_rank(backend, words, request, tmp_path):
    """Two ranks refuse; no traceback of theirs or of torchrun's, and the status is a refusal's."""
    line = [*RUN.format(**words).split(), "--max_step", "4"]
    program, paths = ["-m", TRAIN], [str(ROOT)]
    if backend == "vlm-r1":
        upstream = request.getfixturevalue("upstream")
        program, paths = [str(upstream / "src/open_r1/grpo_jsonl.py"), "--dataset_name", "none"], [
            str(upstream / "src"), str(ROOT),
        ]  # fmt: skip
    own = {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
    }
    torchrun = ["torchrun", "--nproc_per_node", "2", "--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0"]
    done = subprocess.run(
        [sys.executable, "-m", "overlay.nodes.launch", str(tmp_path / "run"), *torchrun, *program, *line],
        capture_output=True, text=True, timeout=200, env=os.environ | own, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    said = "--max_step is no flag of this trainer: did you mean --max_steps?"
    told = [each for each in done.stderr.splitlines() if said in each]
    assert [each.partition(": ")[0] for each in told] == [{"trl": "train", "vlm-r1": "overlay"}[backend], "launch"]
    assert told[-1].endswith("(status 2: start again when that is mended)")
    assert not (tmp_path / "run").exists()
