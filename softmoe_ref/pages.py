"""Memory for large results in huge pages, where Linux offers them.

One pass back through 128 experts writes 600 MB of new gradients. In pages of 4 KiB that is 150 000 page faults, which
took about as long as all of its matrix products; in pages of 2 MiB it is 300. torch's allocator asks for them with
THP_MEM_ALLOC_ENABLE=1, for everything; here only what is large and about to be written as a whole asks.
"""

import ctypes
import mmap
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from torch import Tensor

LEAST_BYTES: Final = 32 * 2**20  # glibc's largest threshold: a block of this size is a mapping of its own


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return uninitialised memory of a `shape`, contiguous, with dtype and device of `like`."""
    found = like.new_empty(shape)
    if found.device.type != "cpu":
        return found
    size = found.numel() * found.element_size()
    advise = _madvise()
    if advise is not None and size >= LEAST_BYTES:
        start = -(-found.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (found.data_ptr() + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
        advise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_HUGEPAGE)  # advice: a refusal changes nothing
    return found


@cache
def _madvise() -> Any:  # noqa: ANN401 - a foreign function has no better type
    if sys.platform != "linux" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    return getattr(ctypes.CDLL(None), "madvise", None)
