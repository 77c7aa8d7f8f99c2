"""Microseconds of one call through FlashInfer's own recorder, at the level that the environment sets.

    FLASHINFER_LOGLEVEL=10 python peer.py BYTES CALLS

The call takes two tensors of BYTES bytes of float32 and returns one of them, as the annotated function of `record.rs`.
"""

import sys
import time

import torch
from flashinfer.api_logging import flashinfer_api


@flashinfer_api
def first(x, y, scale):
    return x


def main():
    count, calls = int(sys.argv[1]) // 4, int(sys.argv[2])
    x, y = torch.ones(count), torch.ones(count)
    first(x, y, 0.5)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(calls):
            first(x, y, 0.5)
        best = min(best, (time.perf_counter() - start) / calls)
    print(f"{best * 1e6:.3f}", file=sys.stderr)


main()
