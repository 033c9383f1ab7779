"""Memory that one call adds, each in a process of its own: `python peaks.py NAME MODE TOKENS` prints MiB."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator  # noqa: TC003
from pathlib import Path

FORMS: dict[str, dict[str, object]] = {
    "fused": {"backend": "fused"},
    "low": {"backend": "fused", "memory": "low"},
    "sdpa": {"backend": "sdpa"},
    "einsum": {"backend": "einsum"},
}
LEAST = {("low", "forward", 4096): 32.0, ("low", "forward+backward", 4096): 100.0}


def table() -> Iterator[tuple[str, float, float | None]]:
    """Yield a title, the MiB that a call adds, and the most that it should be."""
    for tokens in (4096, 8192):
        for name in ("soft_moe_pytorch", *FORMS) if tokens == 4096 else ("low", "sdpa"):
            for mode in ("forward", "forward+backward"):
                command = [sys.executable, __file__, name, mode, str(tokens)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode == 0:
                    title = f"soft {name}, {tokens} tokens x {tokens} slots, {mode}"
                    yield title, float(done.stdout), LEAST.get((name, mode, tokens))


def added(name: str, mode: str, tokens: int) -> float:
    """Return the MiB that one call adds to this process' memory; a small one before it loads what is loaded once."""
    import calls
    import torch

    axes = {"d_model": 256, "d_ff": 256, "num_experts": 8, "slots_per_expert": tokens // 8}
    layer = calls.ours("soft", **axes, **FORMS[name]) if name in FORMS else calls.peer(f"soft:{name}", **axes)
    if layer is None:
        raise SystemExit(1)
    calls.of(layer, torch.randn(1, 64, 256), mode)()
    call = calls.of(layer, torch.randn(1, tokens, 256), mode)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark starts anew
    before = _status("VmRSS")
    call()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    """Return a number of /proc/self/status in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    print(added(sys.argv[1], sys.argv[2], int(sys.argv[3])))
