"""Files of tensors that callbox wrote, read by torch and by safetensors."""

from functools import partial

import safetensors.torch
import torch

from peer import Wrong, describe, expect, expect_equal, without_layout


WAYS = {
    ".pt": {
        "torch.load": partial(torch.load, weights_only=True),
        "torch.load(mmap=True)": partial(torch.load, weights_only=True, mmap=True),
    },
    ".safetensors": {"safetensors.torch.load_file": safetensors.torch.load_file},
}


def read(path):
    """Reads a file in each way there is; gives pairs of the way's name and the tensors."""
    for way, load in WAYS[path.suffix].items():
        try:
            tensors = load(path)
        except Exception as error:
            raise Wrong(f"{path} by {way}: {type(error).__name__}: {error}") from error
        yield way, tensors


def check_group(folder, stem, group, prefers):
    """Compares a file of a call with its description; returns how many tensors it has."""
    tensors = group["tensors"]
    extension = "pt" if group["only_pt"] else prefers
    files = [path.name for path in folder.glob(f"{stem}.*")]
    expect_equal(files, [f"{stem}.{extension}"] if tensors else [], f"{folder}: files of {stem}")
    if not tensors:
        return 0
    path = folder / files[0]
    for way, found in read(path):
        place = f"{path} by {way}"
        keys = [tensor["key"] for tensor in tensors]
        if extension == "pt":
            expect_equal(list(found), keys, f"{place}: keys in order")
            check_storages(found, tensors, place)
        expect_equal(sorted(found), sorted(keys), f"{place}: keys")
        for tensor in tensors:
            check_tensor(found[tensor["key"]], tensor, extension, f"{place}: {tensor['key']}")
    return len(tensors)


def check_tensor(found, tensor, extension, place):
    """Compares a tensor with its description."""
    marks = {"conj": found.is_conj(), "neg": found.is_neg()}
    expected = {key: tensor[key] for key in describe(found)}
    if extension == "pt":
        expect_equal(marks, {key: tensor[key] for key in marks}, f"{place}: marks")
    else:
        expected = without_layout(expected)
    expect_equal(describe(found), expected, place)


def check_storages(found, tensors, place):
    """Makes sure that tensors share storages as they did, one for each dtype, and that each is whole."""
    addresses = {}
    for tensor in tensors:
        storage = found[tensor["key"]].untyped_storage()
        expect_equal(storage.nbytes(), tensor["storage_bytes"], f"{place}: bytes of {tensor['key']}'s storage")
        if storage.nbytes() > 0:
            known = addresses.setdefault((tensor["storage"], tensor["dtype"]), storage.data_ptr())
            expect(known == storage.data_ptr(), f"{place}: {tensor['key']} lost the storage that it shared")
    expect(len(set(addresses.values())) == len(addresses), f"{place}: storages were merged")
