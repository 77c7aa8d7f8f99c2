"""Random files by `torch.save` and `save_file`, for callbox to read."""

import json
import random

import safetensors.torch
import torch

from peer import describe

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
    torch.float4_e2m1fn_x2,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8,
    torch.bool, torch.complex32, torch.complex64, torch.complex128,
]  # fmt: skip
ONLY_PT = {torch.complex32, torch.complex128}


def write(folder, count):
    """Writes so many files in each format, and `expected.json` beside them; returns the number of tensors."""
    folder.mkdir()
    draw, expected = random.Random(12), {}
    for number in range(count):
        tensors = {f"arg_{place}": tensor for place, tensor in enumerate(strided_tensors(draw))}
        expected[f"{number}.pt"] = {key: describe(tensor) for key, tensor in tensors.items()}
        torch.save(tensors, folder / f"{number}.pt")
        tensors = {f"arg_{place}": contiguous_tensor(draw) for place in range(draw.randint(0, 5))}
        expected[f"{number}.safetensors"] = {key: describe(tensor) for key, tensor in tensors.items()}
        safetensors.torch.save_file(tensors, folder / f"{number}.safetensors")
    (folder / "expected.json").write_text(json.dumps(expected))
    return f"{len(expected)} files, {sum(map(len, expected.values()))} tensors"


def storage(draw, dtype, elements):
    """Draws a vector of any bits; truth values are 0 or 1."""
    if elements == 0:
        return torch.empty(0, dtype=dtype)
    count = elements * dtype.itemsize
    drawn = bytearray(draw.choices(range(2 if dtype == torch.bool else 256), k=count))
    return torch.frombuffer(drawn, dtype=torch.uint8).view(dtype)


def shape(draw):
    """Draws up to four sizes."""
    return [draw.choice([0, 1, 2, 2, 3, 3, 4]) for _ in range(draw.randint(0, 4))]


def strided_tensors(draw):
    """Draws some tensors of any layout, a part of them over one storage."""
    tensors = []
    for _ in range(draw.randint(0, 3)):
        dtype = draw.choice(DTYPES)
        base = storage(draw, dtype, 256)
        for _ in range(draw.randint(1, 3)):
            sizes = shape(draw)
            strides = [draw.randint(0, 7) for _ in sizes]
            tensor = base.as_strided(sizes, strides, draw.randint(0, 9))
            if dtype in (torch.complex64, torch.complex128) and draw.random() < 0.3:
                tensor = tensor.conj()
            if dtype in (torch.float32, torch.bfloat16) and draw.random() < 0.3:
                tensor = tensor.detach().requires_grad_()
            tensors.append(tensor)
    # One object twice is one object in the file.
    return tensors + draw.choices(tensors, k=1) if tensors and draw.random() < 0.2 else tensors


def contiguous_tensor(draw):
    """Draws a tensor that safetensors takes."""
    dtype = draw.choice([dtype for dtype in DTYPES if dtype not in ONLY_PT])
    sizes = shape(draw)
    if dtype == torch.float4_e2m1fn_x2:
        sizes = sizes or [2]
    count = 1
    for size in sizes:
        count *= size
    return storage(draw, dtype, count).reshape(sizes)
