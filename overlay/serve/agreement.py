"""Whether a server makes the same prompt of a chat as training did: one question with two screens, its tokens counted
on both sides. Another pixel limit, chat template or tokenizer shows there, once, before anything is scored.

    python -m overlay.serve.agreement --url http://127.0.0.1:8000 --model MODEL [--server PID]

waits until the server answers; with --server a disagreement ends that process, which `make serve` becomes.
"""

import asyncio
import base64
import io
import os
import signal
import sys
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from overlay.chat import Chat, NoAnswer
from overlay.errors import Arguments, ServerFailed, SettingError, command

SCREENS = ((360, 640), (1080, 500))  # pixels; portrait and landscape
WITHIN = 300.0  # seconds for the first answer
QUESTION = "Which of the two screens is wider?"


def healthy(url: str) -> bool:
    """Whether the server at `http://host:port` says that it is ready."""
    try:
        with build_opener(ProxyHandler({})).open(f"{url}/health", timeout=5) as reply:  # this machine's, so no proxy
            return reply.status == 200
    except (OSError, HTTPException):
        return False


def expected(model: Path) -> int:
    """Tokens of the question by the folder's own processor, as the trainers use it."""
    from PIL import Image

    from overlay.model.processor import load_processor

    processor: Any = load_processor(str(model), own_template=True)  # as the server has it
    messages = [{"role": "user", "content": [*({"type": "image"} for _ in SCREENS), _text()]}]
    prompt = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    images = [Image.new("RGB", size, (90, 120, 150)) for size in SCREENS]
    return len(processor(text=[prompt], images=images, add_special_tokens=False)["input_ids"][0])


def counted(url: str, name: str) -> int | None:
    """Tokens of the question by the server's count, None where it tells none. Raises ServerFailed."""
    from PIL import Image

    parts: list[Any] = []
    for size in SCREENS:
        png = io.BytesIO()
        Image.new("RGB", size, (90, 120, 150)).save(png, "PNG")
        data = base64.b64encode(png.getvalue()).decode()
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
    messages: list[Any] = [{"role": "user", "content": [*parts, _text()]}]
    return asyncio.run(_counted(url, model=name, messages=messages, max_tokens=1, temperature=0))


async def _counted(url: str, **body: Any) -> int | None:
    chat = Chat(url, os.environ.get("OPENAI_API_KEY"), WITHIN, retries=0)
    try:
        return (await chat.complete(**body)).prompt_tokens
    except NoAnswer as error:
        raise ServerFailed(f"{url}: it gave no answer to the first question ({error})") from error
    finally:
        await chat.close()


def agree(url: str, name: str, model: Path) -> None:
    """SettingError unless the server at `url` (to its /v1) makes as many tokens of a prompt as the processor of the
    folder `model`; nothing is said of a server that tells no count."""
    served, own = counted(url, name), expected(model)
    if served not in (None, own):
        raise SettingError(
            f"{url}: a prompt with two screens has {served} tokens there and {own} in training: its pixel limits or "
            f"its chat template are not those of {model}"
        )


def _text() -> dict[str, str]:
    return {"type": "text", "text": QUESTION}


@command("serve")
def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = Arguments(description="Count one prompt's tokens on a server and by its model's processor.")
    parser.add_argument("--url", required=True, help="http://host:port")
    parser.add_argument("--model", type=Path, required=True, help="the model's folder, and its name on the server")
    parser.add_argument("--server", type=int, help="process to end when they differ")
    args = parser.parse_args(argv)
    while not healthy(args.url):
        if args.server and os.getppid() != args.server:
            return 0  # the server is gone, and has said why
        time.sleep(0.5)
    try:
        agree(f"{args.url}/v1", str(args.model), args.model)
    except SettingError:
        if args.server:
            os.kill(args.server, signal.SIGTERM)
        raise
    print(f"ready: a prompt's tokens are counted alike at {args.url}/v1 and in training", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
