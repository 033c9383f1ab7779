"""A GPU's allocator that does what it is told, for the passes that ask torch.cuda."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class FakeAllocator:
    """Holds `held` bytes in `reserved`; each call after a reset adds to both, and frees what it took.

    Until it is emptied it also holds `leavings`, what a pass before this one left in its cache.
    """

    held: int
    reserved: int
    adds: int
    reserves: int
    idle: int = 0
    leavings: int = 0
    asked: list[str] = field(default_factory=list)

    def empty_cache(self) -> None:
        self.asked.append("empty_cache")
        self.leavings = 0

    def reset_peak_memory_stats(self, device: object) -> None:
        del device
        self.asked.append("reset_peak_memory_stats")

    def memory_stats(self, device: object) -> dict[str, Any]:
        del device
        self.asked.append("memory_stats")
        return {
            "allocated_bytes.all.current": self.held,
            "allocated_bytes.all.peak": self.held + self.adds,
            "reserved_bytes.all.peak": self.reserved + self.leavings + self.reserves,
            "inactive_split_bytes.all.peak": self.idle,
        }
