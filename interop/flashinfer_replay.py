"""Sessions that callbox recorded, read by FlashInfer's own replay."""

import torch
from flashinfer.api_logging import replay_from_dump, replay_sequence

import files
import sessions
from peer import describe, expect, expect_equal


def check_dumps(work, session):
    """Loads each call of a session by `replay_from_dump`; compares arguments and expected results."""
    folder = work / session["folder"]
    loaded = 0
    for path, call in zip(sessions.calls_of(folder), session["calls"]):
        if not call["inputs"]["tensors"]:
            continue
        replayed = replay_from_dump(str(path), run=False, compare_outputs=True, device="cpu")
        arguments = {f"arg_{place}": value for place, value in enumerate(replayed["args"])}
        arguments |= {f"kwarg_{name}": value for name, value in replayed["kwargs"].items()}
        compare(arguments, call["inputs"], session, f"{path}: arguments")
        compare(replayed["expected_tensors"], call["outputs"], session, f"{path}: expected tensors")
        for key, text in call["texts"].items():
            if not text.startswith("bits:"):
                expect_equal(repr(arguments[key]), text, f"{path}: {key}")
        loaded += 1
    return f"{loaded} calls"


def compare(found, group, session, place):
    """Compares the tensors among some values with those described; nested ones by their count."""
    extension = "pt" if group["only_pt"] else session["format"]
    for tensor in group["tensors"]:
        key = tensor["key"]
        if isinstance(found.get(key), torch.Tensor):
            files.check_tensor(found[key], tensor, extension, f"{place}: {key}")
        else:
            expect(any(key.startswith(f"{outer}__") for outer in found), f"{place}: {key} is missing")
    nested = [tensor for value in found.values() for tensor in tensors_in(value)]
    expect_equal(len(nested), len(group["tensors"]), f"{place}: tensors")


def tensors_in(value):
    """Finds the tensors of a value."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return tensors_in([*value.keys(), *value.values()])
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []


def check_sequence(folder):
    """Replays a session; a call without tensors, and no other, is an error to FlashInfer."""
    calls = {path.name: records for path, records in sessions.calls_of(folder).items()}
    results = replay_sequence(str(folder), device="cpu")
    expect_equal(len(results), len(calls), f"{folder}: entries of replay_sequence")
    errors = 0
    for result in results:
        name = result["dump_dir"].rsplit("/", 1)[-1]
        without_tensors = not calls[name][-1]["tensor_info"]["input_tensor_keys"]
        expect_equal("error" in result, without_tensors, f"{folder}/{name}: {result.get('error', 'no error')}")
        errors += without_tensors
    return f"{len(results)} entries, {errors} of them calls without tensors"


def check_graphs(folder):
    """Loads captured calls, as their last flush left them and each snapshot; `x` is the number of the flush."""
    loaded = 0
    for path, records in sessions.calls_of(folder).items():
        flushes = [path / "graph_flushes" / f"flush_{number:04}" for number in (1, 2)]
        for place, x in zip([path, *flushes], (2.0, 1.0, 2.0)):
            replayed = replay_from_dump(str(place), run=False, compare_outputs=True, device="cpu")
            expected = {"result": torch.full((2, 2), 2 * x)} if "_double_" in path.name else {}
            found = {"x": replayed["args"][0], **replayed["expected_tensors"]}
            for name, tensor in {"x": torch.full((2, 2), x), **expected}.items():
                expect(torch.equal(found[name], tensor), f"{place}: {name} is {found[name]}")
            expect_equal(len(found), 1 + len(expected), f"{place}: tensors")
            loaded += 1
        expect_equal(records[-1]["execution_status"], "completed", f"{path}: status")
    expect_equal(loaded, 6, f"{folder}: flushes of two calls")
    return f"{loaded} flushes"


def check_bmm_fp8(folder):
    """Loads the first example's call as its reproducer does, and computes the product."""
    [path] = sessions.calls_of(folder)
    replayed = replay_from_dump(str(path), run=False, compare_outputs=True, device="cpu")
    a, b, a_scale, b_scale, dtype, out = replayed["args"]
    expect_equal(replayed["kwargs"], {"backend": "cublas"}, f"{path}: kwargs")
    expect_equal(dtype, torch.bfloat16, f"{path}: dtype")
    expect_equal((a.dtype, list(a.shape)), (torch.float8_e4m3fn, [4, 64, 256]), f"{path}: input")
    expect_equal((list(b.shape), list(b.stride())), ([4, 256, 128], [128 * 256, 1, 256]), f"{path}: mat2")
    [(name, expected)] = replayed["expected_tensors"].items()
    expect_equal((name, expected.dtype, expected.shape), ("result", dtype, out.shape), f"{path}: result")
    product = torch.bmm(a.float(), b.float()) * a_scale * b_scale
    torch.testing.assert_close(expected.float(), product, rtol=1e-2, atol=1e-2)
    loaded = {f"arg_{place}": value for place, value in enumerate(replayed["args"])}
    for file, found in (("inputs.pt", loaded), ("outputs.pt", replayed["expected_tensors"])):
        for key, saved in torch.load(path / file, weights_only=True).items():
            expect_equal(describe(found[key]), describe(saved), f"{path}: {key} and {file}")
    return "arguments, expected tensors and their product"


def check_batch_decode(folder):
    """Loads the second example's calls: one object, its constructor, `plan` and `run`."""
    calls = sessions.calls_of(folder)
    names = [records[0]["function_name"].rsplit(".", 1)[-1] for records in calls.values()]
    expect_equal(names, ["__init__", "plan", "run"], f"{folder}: methods")
    objects = {records[0]["self_id"] for records in calls.values()}
    expect_equal(len(objects), 1, f"{folder}: objects")
    plan, run = [replay_from_dump(str(path), run=False, compare_outputs=True, device="cpu") for path in calls][1:]
    half = torch.float16
    expect_equal(plan["kwargs"], {"data_type": half, "q_data_type": half}, f"{folder}: kwargs of plan")
    expect_equal(plan["args"][4:], [32, 4, 128, 16], f"{folder}: heads, size and page of plan")
    expect_equal(run["kwargs"], {"return_lse": True}, f"{folder}: kwargs of run")
    shapes = {key: list(tensor.shape) for key, tensor in run["expected_tensors"].items()}
    expect_equal(shapes, {"result_0": [4, 32, 128], "result_1": [4, 32]}, f"{folder}: results of run")
    check_attention(run["args"][1], run["args"][2], run["expected_tensors"]["result_0"])
    return "3 calls on one object, the attention computed"


def check_attention(q, kv_cache, output):
    """Computes the attention of the second example, whose sequences own their pages one after the other."""
    batch, qo_heads, head_dim = q.shape
    _, _, page_size, kv_heads, _ = kv_cache.shape
    pages = kv_cache.float().view(batch, -1, 2, page_size, kv_heads, head_dim)
    k, v = (pages[:, :, side].reshape(batch, -1, kv_heads, head_dim).transpose(1, 2) for side in (0, 1))
    k, v = (side.repeat_interleave(qo_heads // kv_heads, dim=1) for side in (k, v))
    scores = (q.float().unsqueeze(2) @ k.transpose(2, 3)) / head_dim**0.5
    expected = (scores.softmax(-1) @ v).squeeze(2)
    torch.testing.assert_close(output.float(), expected, rtol=1e-3, atol=1e-3)
