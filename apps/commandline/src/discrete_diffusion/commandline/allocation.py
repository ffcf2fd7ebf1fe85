"""Memory allocation of the C library."""

import ctypes

# Numbers of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let glibc reuse the memory of freed tensors; other C libraries are left as they are.

    By default glibc returns large blocks to the system when they are freed, so that every step of a sampler has the
    system clear the same pages again: a third of its time on a CPU. Blocks of more than 256 MB are still returned.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    # glibc before 2.36 refuses a threshold above 32 MB.
    if not mallopt(_MMAP_THRESHOLD, 1 << 28):
        mallopt(_MMAP_THRESHOLD, 1 << 25)
    mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
