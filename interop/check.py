"""Reads what callbox wrote with torch, safetensors and FlashInfer, and writes files for callbox to read.

Usage: check.py WORK --count N --examples FOLDER [--corpus FOLDER] [--scripts FOLDER]

WORK is what `callbox-interop write` filled. Ends at the first thing that is wrong, with exit code 1.
"""

import argparse
import json
import logging
import sys
import time
import warnings
from pathlib import Path

import corpus
import flashinfer_replay
import scripts
import sessions
import theirs
from peer import Wrong


def checks(arguments):
    """Lists the checks: a name, and what to call with which arguments."""
    work = arguments.work
    expected = json.loads((work / "expected.json").read_text())
    # Subject and format: `layouts-pt`.
    described = {session["folder"]: session for session in expected["sessions"]}
    for name, session in described.items():
        yield f"tensors and lines of {name}", sessions.check, (work, session)
    for name, session in described.items():
        yield f"replay_from_dump on {name}", flashinfer_replay.check_dumps, (work, session)
    bmm_fp8, batch_decode = arguments.examples / "bmm_fp8", arguments.examples / "batch_decode"
    yield "replay_from_dump on bmm_fp8", flashinfer_replay.check_bmm_fp8, (bmm_fp8,)
    yield "replay_from_dump on batch_decode", flashinfer_replay.check_batch_decode, (batch_decode,)
    graphs = [work / f"graphs-{format}" for format in ("pt", "safetensors")]
    for folder in graphs:
        yield f"replay_from_dump on {folder.name}", flashinfer_replay.check_graphs, (folder,)
    folders = [bmm_fp8, batch_decode] + [work / name for name in described] + graphs
    for folder in folders:
        yield f"replay_sequence on {folder.name}", flashinfer_replay.check_sequence, (folder,)
    if arguments.scripts:
        manual_replay, scan_session = (arguments.scripts / name for name in ("manual_replay.py", "scan_session.py"))
        for folder in folders:
            if not folder.name.endswith("-safetensors"):
                yield f"manual_replay.py on {folder.name}", scripts.check_manual_replay, (manual_replay, folder)
            yield f"scan_session.py on {folder.name}", scripts.check_scan_session, (scan_session, folder)
    if arguments.corpus:
        yield "corpus written again", corpus.check, (work, arguments.corpus, expected["corpus"])
    yield "random files for callbox to read", theirs.write, (work / "theirs", arguments.count)


def main():
    """Runs the checks in order, a line each; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--count", type=int, required=True, help="random files in each format")
    parser.add_argument("--examples", type=Path, required=True, help="folder of the two examples' sessions")
    parser.add_argument("--corpus", type=Path, help="folder of recorded sessions")
    parser.add_argument("--scripts", type=Path, help="folder of the documentation's programs")
    # Upstream tells of every argument that it cannot run; the results say what there is to say.
    logging.disable(logging.CRITICAL)
    warnings.filterwarnings("ignore", message="ComplexHalf support is experimental")
    for name, check, arguments in checks(parser.parse_args()):
        begin = time.monotonic()
        try:
            result = check(*arguments)
        except (Wrong, AssertionError) as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            return 1
        print(f"{name}: {result} ({time.monotonic() - begin:.1f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
