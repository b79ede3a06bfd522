"""The machine that torch sees, as a plan needs it."""

from __future__ import annotations

import os

from training.mfu import peak_tflops
from training.plan import Hardware
from training.plan_memory import GIB

UNKNOWN_PEAK = 100.0  # TFLOP/s, where a GPU is not in the table: hours of a plan only, never an MFU
CPU_PEAK = 0.05  # TFLOP/s a core in fp32, measured 0.03 to 0.08 with torch's matrix product: hours of a plan only


def hardware() -> Hardware:
    """The GPUs that are visible, the smallest memory among them counting, and the host's memory; without a GPU that alone."""
    import torch

    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    if not torch.cuda.is_available():
        return Hardware(0, host, CPU_PEAK * (os.cpu_count() or 1), host)
    found = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    return Hardware(len(found), min(one.total_memory for one in found) / GIB, peak_tflops(found[0].name) or UNKNOWN_PEAK, host)
