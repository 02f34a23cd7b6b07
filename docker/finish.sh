#!/usr/bin/env bash
# Last steps of the image: this package into the environment, the patches on VLM-R1/, and a check that all of it imports.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${VENV:?}/bin/python"
"$python" -m pip install --quiet --no-deps --no-build-isolation -e .
"$python" -m overlay.patching status # ends the build when VLM-R1/ is not what the patches make of it
"$python" -c 'import deepspeed, torch, transformers, trl, overlay.backends.trl.train'
