"""Files of recorded sessions that callbox read and wrote again."""

import json

import files
from peer import describe, expect, expect_equal, without_layout

# What a format cannot hold.
CANNOT = {
    ".pt": {"torch.qint8"},
    ".safetensors": {"torch.qint8", "torch.complex32", "torch.complex128"},
}


def check(work, corpus, written):
    """Compares every tensor with what torch read from the recorded file; returns what was compared."""
    truth = json.loads((corpus / "truth.json").read_text())
    compared = {".pt": 0, ".safetensors": 0}
    left_out = 0
    for entry in written:
        source, expected = entry["source"], truth[entry["source"]]
        if entry["file"] is None:
            expect("error" in expected, f"{source}: torch reads it and callbox does not")
            continue
        path = work / entry["file"]
        for key, reason in entry["left_out"].items():
            can = expected[key].get("sha256") and expected[key]["dtype"] not in CANNOT[path.suffix]
            expect(not can, f"{path}: {key} was left out: {reason}")
        left_out += len(entry["left_out"])
        keys = sorted(expected.keys() - entry["left_out"].keys())
        for way, found in files.read(path):
            expect_equal(sorted(found), keys, f"{path} by {way}: keys")
            for key in keys:
                wanted = expected[key]
                if path.suffix == ".safetensors":
                    wanted = without_layout(wanted)
                expect_equal(describe(found[key]), wanted, f"{path} by {way}: {key}")
        compared[path.suffix] += len(keys)
    counts = ", ".join(f"{count} tensors as {suffix}" for suffix, count in compared.items())
    return f"{counts}; {left_out} that a format cannot hold"
