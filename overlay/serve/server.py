"""Serve a checkpoint behind an OpenAI-compatible endpoint: vLLM where it is installed, else `transformers serve`.

    python -m overlay.serve.server MODEL [--port 8000]      (make serve MODEL=)

MODEL is a folder with model and processor, as training saves them: its pixel limits, context, dtype and chat template
are the server's. The program that serves replaces this one; a child of it counts one prompt's tokens when it is ready
(`overlay.serve.agreement`). `GET /health` answers 200 then; the model's name is the folder as it was given.
"""

import argparse
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from overlay.checks import at_least
from overlay.errors import Arguments, ServerFailed, SettingError, command
from overlay.prompt.style_file import read_style
from overlay.serve.agreement import agree, healthy

CONTEXT, IMAGES = 16_384, 2
START_LIMIT, END_LIMIT = 1800.0, 20.0  # seconds for a server to get ready, and to end when it is told to
PROGRAM = (sys.executable, "-m", "overlay.serve.server")
DTYPES = ("float32", "float16", "bfloat16")
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file of a model's folder. Raises SettingError."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{file}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise SettingError(f"{file}: no JSON object")
    return content


def pixel_limits(model: Path) -> tuple[int, int]:
    """(smallest, largest) pixels of an image, from the folder's processor. Raises SettingError."""
    for name in PROCESSOR_FILES:
        if (model / name).is_file():
            config = read_object(model / name)
            config = config.get("image_processor", config)
            size = config.get("size") or {}
            low = size.get("shortest_edge") or config.get("min_pixels")
            high = size.get("longest_edge") or config.get("max_pixels")
            if low and high:
                return int(low), int(high)
    raise SettingError(f"{model}: no processor with pixel limits ({' or '.join(PROCESSOR_FILES)}); training saves one")


def context_and_dtype(model: Path) -> tuple[int, str]:
    """(tokens of the longest prompt with its completion, the weights' type in vLLM's words) by the folder's config."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    text = config.get("text_config") or config
    longest = text.get("max_position_embeddings") or config.get("max_position_embeddings") or CONTEXT
    named = (part.get(name) for part in (config, text) for name in ("dtype", "torch_dtype"))
    return min(CONTEXT, int(longest)), next((name for name in named if name in DTYPES), "auto")


def check_model(model: Path) -> None:
    """SettingError when there is no such model, or it is an adapter."""
    if (model / "adapter_config.json").is_file() and not (model / "config.json").is_file():
        raise SettingError(f"{model} is a LoRA adapter: make merge ADAPTER={model} OUT=<folder>, then serve that")
    if not (model / "config.json").is_file():
        raise SettingError(f"{model}: no model folder (config.json is missing)")
    pixel_limits(model)


def check(model: Path, host: str, port: int) -> None:
    """The same, and when the port is taken."""
    check_model(model)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError as error:
            raise SettingError(f"port {port}: ports are numbers up to 65535 (PORT=)") from error
        except OSError as error:
            raise SettingError(f"port {port} on {host}: {error.strerror}: choose another PORT") from error


def most_images(model: Path) -> int:
    """How many images a prompt has as the model was trained: a step's own screens, and earlier ones."""
    style = read_style(model)
    return IMAGES + (style.history_screens if style else 0)


def vllm_command(model: Path, host: str, port: int, gpus: int, images: int | None = None) -> list[str]:
    """`vllm serve` with the checkpoint's own context, dtype and pixel limits, at most `images` for each prompt, and all
    GPUs (a power of two of them); without any nothing is compiled, which would take minutes."""
    low, high = pixel_limits(model)
    context, dtype = context_and_dtype(model)
    parallel = 1 << max(0, gpus.bit_length() - 1)
    return [
        str(Path(sys.executable).with_name("vllm")), "serve", str(model), "--host", host, "--port", str(port),
        "--max-model-len", str(context), "--dtype", dtype, "--tensor-parallel-size", str(parallel),
        "--limit-mm-per-prompt", json.dumps({"image": images or most_images(model), "video": 0}),
        "--mm-processor-kwargs", json.dumps({"min_pixels": low, "max_pixels": high}), "--served-model-name", str(model),
        "--chat-template-content-format", "openai", *([] if gpus else ["--enforce-eager"]),
    ]  # fmt: skip


def transformers_command(model: Path, host: str, port: int) -> list[str]:
    """`transformers serve` with the folder's own processor."""
    serve = [sys.executable, "-m", "overlay.serve.transformers_serve", "serve"]
    return [*serve, str(model), "--host", host, "--port", str(port), "--log-level", "warning"]


def gpus() -> int:
    """CUDA devices here, 0 without torch's CUDA."""
    import torch

    return torch.cuda.device_count()


def command_line(model: Path, host: str, port: int, backend: str = "auto", images: int | None = None) -> list[str]:
    """The serving program's command line; `auto` is vLLM where it is installed."""
    if backend == "auto":
        backend = "vllm" if importlib.util.find_spec("vllm") else "transformers"
    if backend == "vllm":
        return vllm_command(model, host, port, gpus(), images)
    if images is not None:
        raise SettingError(f"--images {images}: needs vLLM; transformers serve takes any number")
    return transformers_command(model, host, port)


@contextmanager
def served(model: Path, log: Path, limit: float = START_LIMIT) -> Iterator[str]:
    """A server for a model folder on a free port of this machine, ended afterwards, killed where that takes too long;
    its URL. SettingError, with the last line of its `log`, when it ends or is not ready within `limit` seconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [*PROGRAM, str(model), "--port", str(port), "--unchecked"]
    with open(log, "w") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out)
    try:
        url, late = f"http://127.0.0.1:{port}", time.monotonic() + limit
        while not healthy(url):
            ended = process.poll() is not None
            if ended or time.monotonic() > late:
                lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
                what = "ended" if ended else f"was not ready within {limit:g} s"
                raise SettingError(f"the server for {model} {what}: {lines[-1]} (all of it: {log})")
            time.sleep(0.5)
        agree(f"{url}/v1", str(model), model)
        yield f"{url}/v1"
    finally:
        process.terminate()
        try:
            process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def server_of(args: argparse.Namespace) -> Iterator[str]:
    """URL of `--url`, or of a server for the folder `--model` that lasts as long as this, as `--name` then; for the
    flags of `client.asking` with `--out`, which `client.check_asking` has seen. Raises SettingError."""
    if args.url:
        yield args.url
        return
    check_model(args.model)
    args.name = args.name or str(args.model)
    with served(args.model, args.out / "server.log") as url:
        yield url


@command("serve")
def main(argv: list[str] | None = None) -> int:
    """Become the server; returns only when it cannot."""
    parser = Arguments(description="Serve a model folder behind an OpenAI-compatible endpoint.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--backend", choices=("auto", "vllm", "transformers"), default="auto")
    parser.add_argument(
        "--images", type=int, help="most of a prompt, by default as trained; vLLM refuses more with 400"
    )
    parser.add_argument("--unchecked", action="store_true", help="leave the first prompt's tokens uncounted")
    args = parser.parse_args(argv)
    at_least(args, port=1, images=1)
    check(args.model, args.host, args.port)
    line = command_line(args.model, args.host, args.port, args.backend, args.images)
    vllm = Path(line[0]) if Path(line[0]).name == "vllm" else None
    program = vllm or "transformers serve"
    if vllm is not None and not vllm.is_file():
        raise ServerFailed(f"{program}: no such program: make vllm, then make serve VENV=.venv-vllm")
    print(f"serving {args.model} at http://{args.host}:{args.port}/v1 with {program}", file=sys.stderr, flush=True)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB; on a CPU vLLM would take nearly all memory
    # /v1/models of `transformers serve` looks into the hub's cache and fails where there is none.
    cache = Path(os.environ.setdefault("HF_HUB_CACHE", str(Path.home() / ".cache" / "huggingface" / "hub")))
    cache.mkdir(parents=True, exist_ok=True)
    if not args.unchecked:
        host = "127.0.0.1" if args.host == "0.0.0.0" else args.host
        words = ["--url", f"http://{host}:{args.port}", "--model", str(args.model), "--server", str(os.getpid())]
        subprocess.Popen([sys.executable, "-m", "overlay.serve.agreement", *words])
    os.execvp(line[0], line)


if __name__ == "__main__":
    sys.exit(main())
