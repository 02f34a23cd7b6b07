"""Parts of the tests that ask a server: the tiny model behind one on loopback, and the demo's held-out rows."""

from pathlib import Path

import pytest

from tests.stock import TASKS

HELD_OUT_TASKS = str(TASKS / "heldout")


@pytest.fixture(scope="session")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's held-out rows as a data file; their images are in `HELD_OUT_TASKS`."""
    from data_prep.convert import convert
    from overlay.prompt.template import load_template

    out = tmp_path_factory.mktemp("rows") / "held_out.jsonl"
    convert(TASKS / "heldout", out, load_template("zh"), decode=False)
    return out


@pytest.fixture(scope="session")
def url(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory):
    """URL of a server for the tiny model, which it names by its folder."""
    from overlay.serve.server import served

    with served(tiny_model_dir, tmp_path_factory.mktemp("server") / "log") as address:
        yield address
