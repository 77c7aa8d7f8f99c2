"""Seconds of a round of calls through FlashInfer's own recorder, at the level that the environment sets: the best round and the median.

    FLASHINFER_LOGLEVEL=10 python peer.py BYTES CALLS ROUNDS

The call takes two tensors of BYTES bytes of float32 and returns one of them, as the annotated function of `record.rs`.
"""

import statistics
import sys
import time

import torch
from flashinfer.api_logging import flashinfer_api


@flashinfer_api
def first(x, y, scale):
    return x


def main():
    count, calls, rounds = int(sys.argv[1]) // 4, int(sys.argv[2]), int(sys.argv[3])
    x, y = torch.ones(count), torch.ones(count)

    def seconds():
        start = time.perf_counter()
        for _ in range(calls):
            first(x, y, 0.5)
        return time.perf_counter() - start

    seconds()
    times = [seconds() for _ in range(rounds)]
    print(f"{min(times):.9f} {statistics.median(times):.9f}", file=sys.stderr)


main()
