"""The lines of `session.jsonl` and `metadata.jsonl`."""

import json
import os
import re
import struct

from peer import Wrong, expect_equal

# Keys as FlashInfer orders them, then callbox's own.
KEYS = (
    "function_name module call_sequence timestamp process_id input_metadata output_metadata tensor_info "
    "tensor_details tensor_format function_signature versions execution_status graph_capture self_id dump_dir "
    "graph_capture_flushed graph_capture_flush_index graph_capture_snapshot_dir graph_capture_base_dump_dir "
    "error reason callbox tensor_files line_xxh3"
).split()
FLUSH = {key for key in KEYS if key.startswith("graph_capture_")}
OPTIONAL = {"self_id", "error", "reason", "tensor_files"} | FLUSH
BEFORE = "input_tensor_keys output_tensor_keys input_size_bytes input_size_mb".split()
AFTER = "output_size_bytes output_size_mb total_size_bytes total_size_mb".split()


def read(path):
    """Reads lines that Python itself could have written, character for character."""
    text = path.read_bytes().decode("ascii")
    expect_equal(text[-1:], "\n", f"{path}: end of the last line")
    records = []
    for number, line in enumerate(text[:-1].split("\n"), start=1):
        record = json.loads(line)
        place = f"{path}, line {number}"
        check_spelling(line, json.dumps(record), place)
        check_keys(record, place)
        records.append(record)
    return records


def check_spelling(line, python, place):
    """Makes sure that two lines are the same; shows the surroundings of the first difference."""
    if line != python:
        at = len(os.path.commonprefix([line, python]))
        near = slice(max(at - 60, 0), at + 40)
        raise Wrong(f"{place}, column {at + 1}: found\n  {line[near]}\njson.dumps writes\n  {python[near]}")


def check_keys(record, place):
    """Makes sure that the keys are all there and in order."""
    expected = [key for key in KEYS if key in record or key not in OPTIONAL]
    expect_equal(list(record), expected, f"{place}: keys")
    info = list(record["tensor_info"])
    has_outputs = "output_size_bytes" in info
    expected = BEFORE + (AFTER if has_outputs else [])
    expected += ["args_after_tensor_keys"] if "args_after_tensor_keys" in info else []
    expect_equal(info, expected, f"{place}: keys of tensor_info")
    for key, tensor in record["tensor_details"].items():
        expect_equal(list(tensor), ["shape", "dtype", "stride", "device"], f"{place}: keys of {key}")


def check_call(records, call, place):
    """Compares the records of a call with its description."""
    first, last = records[0], records[-1]
    statuses = [record["execution_status"] for record in records]
    expected = ["inputs_saved"] if call["status"] == "inputs_saved" else ["inputs_saved", call["status"]]
    expect_equal(statuses, expected, f"{place}: statuses")
    expect_equal(first["function_name"], call["function"], f"{place}: function")
    inputs, outputs, after = (call[group]["tensors"] for group in ("inputs", "outputs", "args_after"))
    info = last["tensor_info"]
    expect_equal(info["input_tensor_keys"], keys(inputs), f"{place}: input_tensor_keys")
    expect_equal(info["output_tensor_keys"], keys(outputs), f"{place}: output_tensor_keys")
    expect_equal(info.get("args_after_tensor_keys", []), keys(after), f"{place}: args_after_tensor_keys")
    details = {tensor["key"]: detail(tensor) for tensor in inputs + outputs}
    expect_equal(last["tensor_details"], details, f"{place}: tensor_details")
    check_files(last.get("tensor_files", {}), place)
    for key, text in call["texts"].items():
        bits = text.removeprefix("bits:")
        if bits != text:
            number = last["input_metadata"][key]
            expect_equal(struct.pack(">d", number).hex(), bits, f"{place}: bits of {key}")


def check_files(recorded, folder):
    """Makes sure that a record tells of each file of tensors beside it, and of no other."""
    files = {path.name: path.stat().st_size for path in folder.iterdir() if path.name != "metadata.jsonl"}
    expect_equal({name: file["bytes"] for name, file in recorded.items()}, files, f"{folder}: tensor_files")
    for name, file in recorded.items():
        if not re.fullmatch("xxh3:[0-9a-f]{32}", file["hash"]):
            raise Wrong(f"{folder}: the hash of {name} is {file['hash']}")


def keys(tensors):
    """Lists the keys of described tensors."""
    return [tensor["key"] for tensor in tensors]


def detail(tensor):
    """Returns what `tensor_details` says of a tensor."""
    return {key: tensor[key] for key in ("shape", "dtype", "stride")} | {"device": "cpu"}
