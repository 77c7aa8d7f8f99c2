"""Programs of FlashInfer's documentation, run as they lie there."""

import contextlib
import io
import runpy
import sys

import lines
import sessions
from peer import Wrong, expect_equal


def run(script, *arguments):
    """Runs a script as the main program; returns the lines that it printed."""
    printed = io.StringIO()
    previous, sys.argv = sys.argv, [str(script), *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(str(script), run_name="__main__")
    except (Exception, SystemExit) as error:
        raise Wrong(f"{script.name} {arguments[0]}: {type(error).__name__}: {error}") from error
    finally:
        sys.argv = previous
    return printed.getvalue().splitlines()


def check_manual_replay(script, folder):
    """Runs the manual replay on each call that has a `.pt` file of inputs."""
    count = 0
    for path, records in sessions.calls_of(folder).items():
        if not (path / "inputs.pt").exists() or (path / "outputs.safetensors").exists():
            continue
        info, printed = records[-1]["tensor_info"], run(script, path, "cpu")
        shown = [line.split(":")[0].strip() for line in printed if ": shape=" in line]
        expect_equal(shown, info["input_tensor_keys"], f"{path}: tensors that manual_replay.py shows")
        results = [line for line in printed if line.startswith("Output tensors: ")]
        expected = [f"Output tensors: {info['output_tensor_keys']}"] if info["output_tensor_keys"] else []
        expect_equal(results, expected, f"{path}: results that manual_replay.py shows")
        count += 1
    return f"{count} calls"


def check_scan_session(script, folder):
    """Runs the scan of a session; compares its counts."""
    last = [records[-1] for records in sessions.calls_of(folder).values()]
    completed = [record for record in last if record["execution_status"] == "completed"]
    # It counts records: a captured call has one for each flush in each of two places.
    index = lines.read(folder / "session.jsonl")
    counted = sum(record["execution_status"] == "completed" for record in index)
    printed = run(script, folder)
    expect_equal(printed[0], f"Total completed calls: {counted}", f"{folder}: first line")
    incomplete = len([line for line in printed if line.startswith("  - ")])
    expect_equal(incomplete, len(last) - len(completed), f"{folder}: incomplete calls")
    return f"{len(completed)} completed, {incomplete} not"
