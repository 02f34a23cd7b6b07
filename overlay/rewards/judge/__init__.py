"""The LLM judge: scores an answer against a gold answer over an OpenAI-compatible server."""
