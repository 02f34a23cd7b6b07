"""What `make serve` refuses, and the command line that it becomes."""

import json
from itertools import pairwise

import pytest

from overlay.errors import SettingError
from overlay.serve import server


def test_no_model_gets_one_line(capsys):
    assert server.main(["/nowhere"]) == 2
    assert "serve: /nowhere: no model folder" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.integration
def test_a_port_in_use_is_said(tiny_model_dir, url):
    port = int(url.split(":")[2].split("/")[0])
    with pytest.raises(SettingError, match=rf"port {port} on 127.0.0.1: .*choose another PORT"):
        server.check(tiny_model_dir, "127.0.0.1", port)


def test_an_adapter_is_not_served(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(SettingError, match="make merge ADAPTER="):
        server.check(tmp_path, "127.0.0.1", 0)


@pytest.mark.integration
def test_vllm_gets_trainings_limits(tiny_model_dir):
    words = server.vllm_command(tiny_model_dir, "0.0.0.0", 8000, gpus=6)
    value = dict(pairwise(words))
    assert json.loads(value["--limit-mm-per-prompt"]) == {"image": 2, "video": 0}
    low, high = server.pixel_limits(tiny_model_dir)
    assert json.loads(value["--mm-processor-kwargs"]) == {"min_pixels": low, "max_pixels": high}
    assert (value["--max-model-len"], value["--tensor-parallel-size"]) == ("16384", "4")
