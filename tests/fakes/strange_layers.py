"""Layers from outside, most of them with something wrong."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import torch

import softmoe_ref
from bench.worker import entry


class Identity(torch.nn.Module):
    """Maps tokens to themselves; takes only what it needs."""

    def __init__(self, d_model: int, d_ff: int, num_experts: int, slots_per_expert: int) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(d_model))
        self.sizes = (d_ff, num_experts, slots_per_expert)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gain


class TwiceTheExperts(torch.nn.Module):
    """Soft MoE that computes its experts twice and throws the second result away."""

    def __init__(self, **axes: object) -> None:
        super().__init__()
        self.soft = softmoe_ref.build("soft", backend="fused", **axes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        decision = self.soft.route(x)
        rows = decision.dispatch(x)
        self.soft.experts(rows)
        return decision.combine(self.soft.experts(rows))


def note(*pids: int) -> None:
    """Writes process ids down for the test that wants to see them gone."""
    with Path(os.environ.get("STRANGE_PIDS", os.devnull)).open("a") as file:
        file.write(" ".join(map(str, pids)) + "\n")


class _Strange(Identity):
    """Misbehaves at its first call."""

    behaved = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.behaved:
            self.behaved = False
            self.misbehave()
        return super().forward(x)

    def misbehave(self) -> None:
        raise NotImplementedError


class Raises(_Strange):
    def misbehave(self) -> None:
        raise ValueError("no tokens today")


class Exits(_Strange):
    def misbehave(self) -> None:
        sys.stdout.write("last words\n")
        sys.stdout.flush()
        os._exit(7)


class Dies(_Strange):
    def misbehave(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Hangs(_Strange):
    """Starts a grandchild, writes down its process id, and never comes back."""

    def misbehave(self) -> None:
        child = subprocess.Popen(["sleep", "600"])
        note(os.getpid(), child.pid)
        time.sleep(600)


class Devours(_Strange):
    def misbehave(self) -> None:
        torch.empty(2**50, dtype=torch.uint8)


class Overdraws(_Strange):
    def misbehave(self) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB\nlong statistics")


class IsDeaf(_Strange):
    """Ignores every signal that can be ignored, and never comes back."""

    def misbehave(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        note(os.getpid())
        time.sleep(600)


class Segfaults(_Strange):
    def misbehave(self) -> None:
        ctypes.string_at(0)


class IsKilled(_Strange):
    """By somebody else, as far as it can tell."""

    def misbehave(self) -> None:
        subprocess.run(["kill", "-KILL", str(os.getpid())], check=False)
        time.sleep(600)


class IsTerminated(_Strange):
    def misbehave(self) -> None:
        subprocess.run(["kill", "-TERM", str(os.getpid())], check=False)
        time.sleep(600)


class HoardsTensors(_Strange):
    """Takes ever more memory, without touching it: what the machine has is not the test's to fill."""

    def misbehave(self) -> None:
        self.hoard = [torch.empty(2**28, dtype=torch.uint8) for _ in count()]


class HoardsObjects(_Strange):
    def misbehave(self) -> None:
        self.hoard = [bytes(2**28) for _ in count()]  # of zeros that nobody has written


class Chatters(_Strange):
    """Prints 50 MB."""

    def misbehave(self) -> None:
        for _ in range(50):
            os.write(1, b"tokens, tokens, tokens\n" * (10**6 // 23))


class NeverStopsTalking(_Strange):
    def misbehave(self) -> None:
        note(os.getpid())
        while True:
            os.write(2, b"and another thing\n" * 1000)


class LeavesChildren(_Strange):
    """Starts processes that outlive it: a program, a fork, one in a session of its own, and a daemon."""

    def misbehave(self) -> None:
        children = [
            subprocess.Popen(["sleep", "600"]),
            subprocess.Popen(["sleep", "600"], start_new_session=True),
        ]
        note(*(child.pid for child in children))
        for child in children:
            child.returncode = 0  # its end is not waited for, and nobody warns of that
        if (fork := os.fork()) == 0:
            time.sleep(600)
            os._exit(0)
        note(fork)
        noted, notes = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                note(os.getpid())
                os.write(notes, b".")
                time.sleep(600)
            os._exit(0)
        os.read(noted, 1)


class ClosesEverything(_Strange):
    def misbehave(self) -> None:
        os.closerange(0, 4096)


class ReplacesStdout(_Strange):
    def misbehave(self) -> None:
        sys.stdout = sys.stderr = None  # type: ignore[assignment]


class RaisesSystemExit(_Strange):
    def misbehave(self) -> None:
        sys.exit(3)


class RaisesKeyboardInterrupt(_Strange):
    def misbehave(self) -> None:
        raise KeyboardInterrupt


class LosesContext(_Strange):
    """Fails as a kernel with an assertion does; after it torch may not be asked about the device."""

    def misbehave(self) -> None:
        torch.cuda.empty_cache = torch.cuda.synchronize = _forbidden  # type: ignore[assignment]
        raise torch.AcceleratorError("CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA`")


def _forbidden(*_: object) -> None:
    raise AssertionError("CUDA is called after its context was lost")


class ExitsLikeAFullDisk(_Strange):
    def misbehave(self) -> None:
        os._exit(entry.NO_ROOM)


class _Leaves(_Strange):
    """Has its worker leave something else than a result."""

    left = b""

    def misbehave(self) -> None:
        def leave(_result: object, folder: Path) -> None:
            (folder / entry.RESULT).write_bytes(self.left)

        entry._leave = leave


class LeavesNothing(_Leaves):
    pass


class LeavesHalf(_Leaves):
    left = b'{"status": "ok", "detail": "", "observa'


class LeavesAList(_Leaves):
    left = b"[1, 2, 3]"


class LeavesABinary(_Leaves):
    left = bytes(range(128, 256))


class LeavesAnUnknownStatus(_Leaves):
    left = b'{"status": "splendid", "detail": "", "started": 1, "finished": 2}'


class LeavesNaN(_Leaves):
    left = b"""{"status": "ok", "detail": "", "started": 1, "finished": 2,
        "observations": [{"metric": "latency", "unit": "s", "samples": [1.0, NaN]}]}"""


class LeavesWordsForSamples(_Leaves):
    left = b"""{"status": "ok", "detail": "", "started": 1, "finished": 2,
        "observations": [{"metric": "latency", "unit": "s", "samples": ["fast"]}]}"""


class LeavesAnInfinity(_Leaves):
    left = b"""{"status": "ok", "detail": "", "started": 1, "finished": 2,
        "observations": [{"metric": "latency", "unit": "s", "samples": [1e999]}]}"""


class LeavesAnUnknownCaveat(_Leaves):
    left = b'{"status": "ok", "detail": "", "started": 1, "finished": 2, "flags": [{"code": "moody", "detail": ""}]}'


class LeavesADeepHole(_Leaves):
    left = b"[" * 10**6


class LeavesAGiant(_Leaves):
    left = b" " * (65 * 2**20)


class Shrinks(Identity):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1]


def not_a_layer(**axes: object) -> str:
    return str(axes)


not_callable = "a word"
