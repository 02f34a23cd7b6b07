"""Ask an OpenAI-compatible server as servers are: one reading of its replies, and a reason where there is no answer.

For every program that asks one: the client of served models and the judge. Loads openai only to ask. Requests are
repeated on 429 (by Retry-After), 5xx, time-outs and broken connections. A server on this machine is asked without a
proxy, whatever the environment says.
"""

import asyncio
import ipaddress
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from overlay.action.completion import whole_text
from overlay.errors import ServerFailed, SettingError

LATE, UNREACHED = "timeout", "connection"
ENDED = ("content_filter", "abort", "error")  # finish reasons that leave no completion of the model's
LISTED_WITHIN = 30.0  # seconds; a list of models is no long work
WORDS = 200  # characters of a server's own words in a message


class NoAnswer(ServerFailed):
    """One request without an answer. `reason`: its kind in a few words, none of them the server's, so that it may be
    counted and logged; `status`: the HTTP status of a refusal."""

    def __init__(self, reason: str, words: str = "", status: int | None = None):
        told = " ".join(words.split())
        super().__init__(f"{reason}: {told[:WORDS]}" if told else reason)
        self.reason, self.status = reason, status


@dataclass(frozen=True)
class Reply:
    """What a server replied: text, the reasoning that it handed over apart, why the model stopped, and the count of the
    prompt's tokens (images included); None where it did not say."""

    content: str
    reasoning: str = ""
    finish: str | None = None
    prompt_tokens: int | None = None

    @property
    def text(self) -> str:
        """The completion as the model wrote it, whichever way a server with a reasoning parser took it apart: without
        the `<think>` tags, with one or both of them in either part, with a copy of all, or everything called reasoning
        (then a `</think>` never came, and the text is as it is)."""
        if not self.reasoning or "<think>" in self.content:
            return self.content
        if not self.content:
            return self.reasoning
        begun = "" if self.reasoning.lstrip().startswith("<think>") else "<think>"
        closed = "</think>" in self.reasoning or self.content.lstrip().startswith("</think>")
        return begun + self.reasoning + ("" if closed else "</think>") + self.content


def reopened(text: str) -> str:
    """A completion whose `<think>` was the end of its prompt, with that tag again: a `</think>` shows that it was.

    >>> reopened("why</think><answer>what</answer>")
    '<think>why</think><answer>what</answer>'
    """
    return f"<think>{text}" if "</think>" in text and "<think>" not in text else text


def read_reply(body: bytes) -> Reply:
    """The reply in the body of a 200. Raises NoAnswer.

    >>> read_reply(b'{"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}').text
    'a'
    """
    text = body.decode("utf-8", errors="replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # not `load_json`: brackets in a completion's text nest nothing
        start = text.lstrip()
        kind = "HTML" if start.startswith("<") else "a stream" if start.startswith(("data:", "event:")) else "not JSON"
        raise NoAnswer(f"the reply is {kind}", start) from None
    value = value if isinstance(value, dict) else {}
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        error = value.get("error")
        raise NoAnswer("an error in a reply of status 200", _said(error)) if error else NoAnswer("no choices")
    usage = value.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return _read_choice(choice, tokens if isinstance(tokens, int) else None)


def _read_choice(choice: dict[str, Any], tokens: int | None) -> Reply:
    message, finish = choice.get("message"), choice.get("finish_reason")
    if not isinstance(message, dict):
        raise NoAnswer("no message")
    content, reasoning = _text(message.get("content")), _text(message.get("reasoning_content"))
    reasoning = reasoning or _text(message.get("reasoning"))
    if finish in ENDED:
        raise NoAnswer(f"ended by the server ({finish})")
    if not content and not reasoning:
        if message.get("refusal"):
            raise NoAnswer("refusal", str(message["refusal"]))
        if message.get("tool_calls") or message.get("function_call"):
            raise NoAnswer("tool calls only", "the server reads them out of the text: serve without a tool parser")
        if content is None and finish not in ("stop", "length"):
            raise NoAnswer("no text")
    return Reply(content or "", reasoning or "", finish if isinstance(finish, str) else None, tokens)


def _text(value: Any) -> str | None:
    """Text, or the text parts of structured content together; None for anything else."""
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        texts = [part for part in parts if isinstance(part, str)]
        value = "".join(texts) if texts else None
    return whole_text(value) if isinstance(value, str) else None


def _said(error: Any) -> str:
    """A server's own words about an error."""
    words = error.get("message", error) if isinstance(error, dict) else error
    return words if isinstance(words, str) else json.dumps(words, default=str)


def check_url(url: str) -> None:
    """Raises SettingError for what is no http(s) URL with a host."""
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:  # a port beyond 65535, half an IPv6 address
        wrong = True
    if wrong or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise SettingError(f"{url!r} is no URL of a server: write http://host:port/v1")


def on_this_machine(url: str) -> bool:
    """Whether a URL names this machine's own loopback."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Chat:
    """A connection to a server at `url` (.../v1). Each try may take `timeout` seconds, however slowly its reply comes.
    Raises SettingError for a URL or a proxy that cannot work."""

    def __init__(self, url: str, key: str | None, timeout: float, retries: int, connections: int = 1000):
        import httpx2
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        check_url(url)

        class Within(DefaultAsyncHttpxClient):
            """Its own time-outs are of one read: a reply that drips would never end."""

            async def send(self, request: httpx2.Request, **more: Any) -> httpx2.Response:
                try:
                    async with asyncio.timeout(timeout):
                        return await super().send(request, **more)
                except TimeoutError as error:
                    raise httpx2.ReadTimeout("no whole reply", request=request) from error

        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=min(connections, 100))
        try:
            http = Within(limits=limits, trust_env=not on_this_machine(url))
            self._server = AsyncOpenAI(
                base_url=url, api_key=key or "none", timeout=timeout, max_retries=retries, http_client=http
            )
        except (ImportError, ValueError, httpx2.InvalidURL) as error:  # SOCKS without socksio; no URL
            raise SettingError(f"{url}: a proxy of the environment cannot be used (see NO_PROXY): {error}") from error
        self.timeout = timeout
        self.unreached = 0  # requests in a row that no server answered

    async def models(self) -> list[str]:
        """Names of the models that the server lists; [] when it has no such list. Raises NoAnswer when it is not
        reached."""
        try:
            async with asyncio.timeout(LISTED_WITHIN):
                listed = json.loads(await self._ask("get", "/models"))
        except TimeoutError:
            raise NoAnswer(LATE, f"no list of models within {LISTED_WITHIN:g} s") from None
        except NoAnswer as error:
            if error.status is None:
                raise
            return []
        except (ValueError, RecursionError):
            return []
        entries = listed.get("data") if isinstance(listed, dict) else None
        names = [entry.get("id") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        return [name for name in names if isinstance(name, str)]

    async def complete(self, **body: Any) -> Reply:
        """The reply to a chat completions request. Raises NoAnswer."""
        return read_reply(await self._ask("post", "/chat/completions", body=body))

    async def _ask(self, method: str, path: str, **more: Any) -> bytes:
        import httpx2
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        try:
            reply = await getattr(self._server, method)(path, cast_to=httpx2.Response, **more)
        except APITimeoutError as error:
            self.unreached += 1
            raise NoAnswer(LATE, f"no whole reply within {self.timeout:g} s") from error
        except APIConnectionError as error:
            self.unreached += 1
            raise NoAnswer(UNREACHED, str(error.__cause__ or error)) from error
        except APIStatusError as error:
            self.unreached = 0
            body = error.body or error.response.text
            raise NoAnswer(f"HTTP {error.status_code}", _said(body), error.status_code) from error
        except (OpenAIError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise NoAnswer(UNREACHED, str(error)) from error
        self.unreached = 0
        return reply.content

    async def close(self) -> None:
        """Close its connections."""
        await self._server.close()
