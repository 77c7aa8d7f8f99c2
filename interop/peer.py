"""What the checks share: how they fail, and what a tensor is."""

import hashlib

import torch


class Wrong(Exception):
    """A file, a line or a value is not what it should be."""


def expect(condition, message):
    """Fails with a message unless the condition holds."""
    if not condition:
        raise Wrong(message)


def expect_equal(found, expected, place):
    """Fails unless two things are equal."""
    expect(found == expected, f"{place}: found\n  {found}\nexpected\n  {expected}")


# Integers stand for elements of their size: every dtype can be seen as one, few can be copied.
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def sha256(tensor):
    """Hashes the logical elements in row-major order, little endian, conjugated and negated where marked."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    if plain.element_size() in INTEGERS:
        plain = plain.view(INTEGERS[plain.element_size()])
    return hashlib.sha256(plain.contiguous().numpy().tobytes()).hexdigest()


def describe(tensor):
    """Describes a tensor by what a file has to keep of it."""
    return {
        "dtype": str(tensor.dtype),
        "shape": list(tensor.shape),
        "stride": list(tensor.stride()),
        "storage_offset": tensor.storage_offset(),
        "requires_grad": tensor.requires_grad,
        "sha256": sha256(tensor),
    }


def without_layout(description):
    """Returns what is left of a description when a tensor is stored row by row."""
    stride, strides = 1, []
    for size in reversed(description["shape"]):
        strides.insert(0, stride)
        stride *= max(size, 1)
    return description | {"stride": strides, "storage_offset": 0, "requires_grad": False}
