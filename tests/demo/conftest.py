"""The demo's own held-out rows, made once."""

import pytest

from overlay.demo.score import rows_of


@pytest.fixture(scope="session")
def phone_rows(tmp_path_factory):
    """Held-out rows of our own pages (overlay.data.dataset)."""
    return rows_of(tmp_path_factory.mktemp("phone"), "heldout")


@pytest.fixture(scope="session")
def phone_file(phone_rows, tmp_path_factory):
    """The data file of `phone_rows`."""
    return next(tmp_path_factory.getbasetemp().glob("phone*/heldout.jsonl"))
