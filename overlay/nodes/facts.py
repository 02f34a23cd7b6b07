"""What one node says of itself: versions, code, data, model, devices. No model is loaded, no group is formed."""

import ctypes.util
import hashlib
import os
import shutil
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from overlay.data.dataset import split_paths
from overlay.errors import GitError
from overlay.patching.git import Git

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "transformers", "trl", "accelerate", "deepspeed", "datasets", "peft", "flash-attn", "vllm")
CODE = ("overlay/**/*.py", "overlay/**/*.txt", "run_scripts/**/*", "patches/*.patch")
UPSTREAM = ("VLM-R1/src/open-r1-multimodal/src/**/*.py",)
RDMA = Path("/sys/class/infiniband")


def _digest(files: list[Path]) -> str:
    """Twelve hex digits for the contents of `files`, by relative name; "none" where there are no files."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode())
        with open(file, "rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()[:12] if files else "none"


def _tree(root: Path, patterns: tuple[str, ...]) -> str:
    return _digest(sorted(file for pattern in patterns for file in root.glob(pattern) if file.is_file()))


def commit(root: Path = ROOT) -> str:
    """The checked-out commit, `+` where tracked files were changed; "no git" where that cannot be told."""
    git = Git(root)
    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (GitError, FileNotFoundError):
        return "no git"


def data_digest(files: str) -> str:
    """Digest of the contents of `a:b` data files. FileNotFoundError names a missing one."""
    return _digest([Path(file) for file in split_paths(files)])


def model_digest(model: str) -> str:
    """Digest of a model folder's configs, and names and sizes of its weights; a hub name stands for itself."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    weights = sorted((file.name, file.stat().st_size) for file in folder.glob("*.safetensors"))
    total = hashlib.sha256(repr(weights).encode())
    total.update(_digest(sorted(folder.glob("*config*.json"))).encode())
    return total.hexdigest()[:12]


def devices() -> dict[str, str]:
    """GPUs, RDMA devices, libibverbs, shared memory and limits, as this node sees them."""
    import torch

    count = torch.cuda.device_count()
    cards = sorted(card.name for card in RDMA.iterdir()) if RDMA.is_dir() else []
    shm = shutil.disk_usage("/dev/shm").total / 2**30 if os.path.isdir("/dev/shm") else 0
    return {
        "GPUs": f"{count} x {torch.cuda.get_device_name(0)}" if count else "none",
        "RDMA devices": " ".join(cards) or "none",
        "libibverbs": "found" if ctypes.util.find_library("ibverbs") else "missing",
        "/dev/shm": f"{shm:.0f} GiB",
    }


def gather(data: str, model: str, processes: int, batch: int, generations: int) -> dict[str, str]:
    """All of this node's facts, name → text."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "none"
    return {
        "host": socket.gethostname(),
        "python": sys.version.split()[0],
        **versions,
        "commit": commit(),
        "code": _tree(ROOT, CODE),
        "VLM-R1": _tree(ROOT, UPSTREAM),
        "data": data_digest(data),
        "model": model_digest(model),
        "processes": str(processes),
        "batch": str(batch),
        "generations": str(generations),
        **devices(),
    }
