"""A vLLM server (`--vllm_mode server`) as a run needs it: asked with a time limit, and an end in one line on every rank
when it is gone, late, or has other pixels.

TRL asks without a limit, repeats for a minute what a dead server cannot answer, and then ends rank 0 in a traceback
while the others wait for what it would have sent. `serve_from` puts `ServerClient` in the place of TRL's client.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Any

from accelerate.utils import broadcast_object_list
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError, ConnectionError, ReadTimeout
from urllib3.util.retry import Retry

from overlay.errors import RunStopped
from overlay.training.ahead import GenerateAhead
from overlay.training.vllm_agreement import reason_of

CONNECT = 10.0  # seconds
AT_ONCE = 64  # connections, TRL's own number of requests at a time


class ServerFault(RunStopped):
    """The server gave no completions, so there is no step; what was trained before it is sound. Unpacked, as TRL does
    with what rank 0 has sent, it raises itself."""

    def __iter__(self) -> Iterator[Any]:
        raise self


class ServerClient:
    """On rank 0, in the place of TRL's `client`: the same calls, each a ServerFault when it fails. `vllm`: TRL's
    VLLMGeneration; `limit`: seconds for one request."""

    def __init__(self, vllm: Any, limit: float):
        self.vllm, self.client, self.limit = vllm, vllm.vllm_client, limit
        self.fault: ServerFault | None = None
        self.ahead: GenerateAhead | None = None
        self._images: list[Any] = []
        session = self.client.session
        session.request = partial(session.request, timeout=(CONNECT, limit))
        # A server that was started again has old weights and no way to new ones: nothing is asked twice for long.
        retries = Retry(total=2, connect=2, read=False, status=2, status_forcelist=[502, 503], allowed_methods=None,
                        backoff_factor=0.5)  # fmt: skip
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries, pool_maxsize=AT_ONCE))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def update_named_params(self, metadata: list[Any], named: Iterable[tuple[str, Any]]) -> None:
        """New weights, when no request is in flight. A fault is raised by what is asked next: `named` is walked to its
        end first, for other ranks gather each weight together with this one."""
        if self.ahead is not None:
            self.ahead.wait()
        try:
            with self._watched():
                self.client.update_named_params(metadata, named)
        except ServerFault as fault:
            self.fault = fault
            for _ in named:
                pass

    def reset_prefix_cache(self) -> None:
        """TRL's, and the cache of encoded images, which holds what the vision tower made with old weights: log-probs
        differ by 1.7 after one large step. Drop the second when TRL (or vLLM, with the prefix cache) empties both."""
        try:
            with self._watched():
                self.client.reset_prefix_cache()
                self.client.session.post(f"{self.client.base_url}/reset_encoder_cache")  # 404 where there is none
        except ServerFault as fault:
            self.fault = self.fault or fault

    def image_features(self, images: list[Any], *_: Any) -> list[None]:
        """Kept for `generate`, which has the prompts too."""
        self._images = images
        return [None] * len(images)

    def generate(self, prompts: list[list[int]], features: Any = None, **how: Any) -> dict[str, Any]:
        """TRL's: completions and log-probs of `prompts`, as ids. Raises ServerFault."""
        images, self._images = self._images if features else [], []
        if self.ahead is not None:
            return self.ahead.generate(prompts, images, how)
        return self.ask(prompts, images, how)

    def ask(self, prompts: list[list[int]], images: list[Any], how: dict[str, Any]) -> dict[str, Any]:
        """Completions of prompts with their images, now; may be called in a thread. Raises ServerFault."""
        if self.fault is not None:
            raise self.fault
        with self._watched():
            features = None
            if any(images):
                made = self.client.image_features(images)
                features = [self._placed(*pair) for pair in zip(made, prompts, strict=True)]
            return self.client.generate(prompts=prompts, features=features, **how)

    def _placed(self, features: dict[str, Any] | None, prompt: list[int]) -> dict[str, Any] | None:
        """A prompt's images at their marks, which are as long as the server makes them. Raises ServerFault."""
        if features is not None:
            token = self.vllm.processing_class.image_token_id
            own = [len(list(run)) for value, run in groupby(prompt) if value == token]
            servers = [place["length"] for place in features["mm_placeholders"]["image"]]
            if own != servers:
                raise self._fault(
                    f"makes {servers} tokens of a prompt's images, the trainer {own}: its pixel limits are others. "
                    "Serve the folder that --model_name_or_path names"
                )
        return self.vllm._place_features(features, prompt)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """ServerFault for whatever TRL's client raises, which knows no class of its own for it."""
        try:
            yield
        except ServerFault:
            raise
        except ReadTimeout as error:
            raise self._fault(f"gave no answer in {self.limit:g} s (--vllm_request_timeout)") from error
        except (ConnectionError, ChunkedEncodingError) as error:
            raise self._fault("is gone") from error
        except Exception as error:
            raise self._fault(f"answers: {reason_of(error)}") from error

    def _fault(self, what: str) -> ServerFault:
        return ServerFault(f"the vLLM server at {self.client.base_url} {what}")


def serve_from(vllm: Any, limit: float, step: Callable[[], int]) -> ServerClient | None:
    """Let TRL's VLLMGeneration ask its server through `ServerClient`; that, or None on other ranks than the first.
    Every rank raises a ServerFault in the same call, which names the run's `step`."""
    first = vllm.accelerator.is_main_process
    if first:
        vllm.vllm_client = ServerClient(vllm, limit)
    theirs = vllm.generate

    def generate(*args: Any, **kwargs: Any) -> Any:
        try:
            return theirs(*args, **kwargs)
        except ServerFault as fault:
            if not first:
                raise
            told = ServerFault(
                f"{fault}. Nothing was trained in step {step()}, the steps before it are kept: see to the server, then "
                "start the same command again"
            )
            broadcast_object_list([told], from_process=0)  # what the others wait for
            raise told from fault

    vllm.generate = generate
    return vllm.vllm_client if first else None
