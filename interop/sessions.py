"""Sessions that callbox recorded."""

from pathlib import Path

import files
import lines
from peer import expect_equal


def calls_of(folder):
    """Reads a session's index; gives the records of each call by the call's folder, in order. Those of snapshots are left out."""
    calls = {}
    for record in lines.read(folder / "session.jsonl"):
        if "graph_capture_base_dump_dir" in record:
            continue
        calls.setdefault(Path(record["dump_dir"]), []).append(record)
    return calls


def check(work, session):
    """Compares a session with its description; returns what was compared."""
    folder = work / session["folder"]
    calls = calls_of(folder)
    expect_equal(len(calls), len(session["calls"]), f"{folder}: calls")
    folders = {path.name for path in folder.iterdir() if path.is_dir()}
    expect_equal({path.name for path in calls}, folders, f"{folder}: folders")
    tensors = 0
    for (path, records), call in zip(calls.items(), session["calls"]):
        expect_equal(lines.read(path / "metadata.jsonl"), records, f"{path}: the session's lines and its own")
        lines.check_call(records, call, path)
        for stem in ("inputs", "outputs", "args_after"):
            tensors += files.check_group(path, stem, call[stem], session["format"])
    return f"{len(calls)} calls, {tensors} tensors"
