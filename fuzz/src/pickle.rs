//! Programs for the pickle machine: its instructions in any order, and values as torch builds them.

use callbox_format_pt::PtSerializer;

use crate::archive;
use crate::choices::Choices;
use crate::tensors::check_file;

/// Instructions without an operand, allowed and refused ones.
const PLAIN: &[u8] = b"(N\x88\x89)\x85\x86\x87t]ae}su\x94\x93RQ012blopdi\x81\x92\x8f\x90\x91.P";
/// Names that are allowed, and some that are not.
const NAMES: [(&str, &str); 24] = [
    ("torch", "FloatStorage"),
    ("torch", "HalfStorage"),
    ("torch", "LongStorage"),
    ("torch", "BoolStorage"),
    ("torch", "ComplexFloatStorage"),
    ("torch", "QInt8Storage"),
    ("torch.storage", "UntypedStorage"),
    ("torch", "float16"),
    ("torch", "float8_e4m3fn"),
    ("torch", "float4_e2m1fn_x2"),
    ("torch", "Size"),
    ("torch", "Tensor"),
    ("torch", "per_tensor_affine"),
    ("torch.serialization", "_get_layout"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor_v3"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_parameter_with_state"),
    ("torch._utils", "_rebuild_qtensor"),
    ("torch._utils", "_rebuild_sparse_tensor"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"),
    ("torch._tensor", "_rebuild_from_type_v2"),
    ("collections", "OrderedDict"),
    ("os", "system"),
];
/// Texts that mean something to the machine or to torch.
const TEXTS: [&[u8]; 12] = [
    b"storage",
    b"0",
    b"1",
    b"cpu",
    b"cuda:0",
    b"conj",
    b"neg",
    b"torch.sparse_coo",
    b"arg_0",
    b"../x",
    b"\xed\xa0\x80",
    b"a",
];
/// Bytes of the storages `0` and `1`.
const STORAGES: [&[u8]; 2] = [&[7; 16], &[0, 1, 2, 3, 4, 5, 6, 7]];

/// Builds a program from the choices and reads it in an honest archive; the first byte may say that the rest is the
/// program itself.
pub(crate) fn ops(input: &[u8]) {
    let program = match input.split_first() {
        Some((&b'\x80', _)) => input.to_vec(),
        _ => program(Choices::of(input)),
    };
    check_file(&PtSerializer, &archive::honest(&program, &STORAGES));
}

fn program(mut choices: Choices<'_>) -> Vec<u8> {
    let mut code = b"\x80\x02".to_vec();
    while !choices.is_over() {
        instruction(&mut choices, &mut code);
    }
    code.push(b'.');
    code
}

fn instruction(choices: &mut Choices<'_>, code: &mut Vec<u8>) {
    match choices.byte() % 16 {
        0..=5 => code.push(choices.one_of(PLAIN)),
        6 => int(choices, code),
        7 => text(choices.one_of(&TEXTS), code),
        8 => name(choices, code),
        9 => {
            let (opcode, place) = (choices.one_of(b"qh"), choices.byte() % 8);
            code.extend([opcode, place]);
        }
        10 => {
            code.push(choices.one_of(b"rj"));
            code.extend((choices.number() as u32).to_le_bytes());
        }
        11 => storage(choices, code),
        12 => tensor(choices, code),
        // A dict with one tensor, as most files have it.
        13 => {
            code.push(b'}');
            text(choices.one_of(&TEXTS), code);
            tensor(choices, code);
            code.push(b's');
        }
        14 => {
            code.push(choices.one_of(b"\x8b\x8dX\x8c\x95\x96FVSTUBCGMJKI\x80\x97\x98\x82\x83\x84gpc\x8e"));
            code.extend(choices.bytes(12));
        }
        _ => code.extend(choices.bytes(16)),
    }
}

/// Writes the pickle of a dict of a few tensors.
pub(crate) fn dict_of_tensors(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut code = b"\x80\x02}(".to_vec();
    for key in 0..=choices.byte() % 3 {
        text(format!("arg_{key}").as_bytes(), &mut code);
        tensor(choices, &mut code);
    }
    code.extend(b"u.");
    code
}

fn tensor(choices: &mut Choices<'_>, code: &mut Vec<u8>) {
    code.extend(b"ctorch._utils\n_rebuild_tensor_v2\n(");
    storage(choices, code);
    small(choices, code);
    for _ in 0..2 {
        code.push(b'(');
        for _ in 0..choices.byte() % 4 {
            small(choices, code);
        }
        code.push(b't');
    }
    code.push(if choices.rarely(32) { b'\x88' } else { b'\x89' });
    code.extend(b"ccollections\nOrderedDict\n)R");
    if choices.rarely(32) {
        code.push(b'}');
        text(choices.one_of(&TEXTS), code);
        code.extend(b"\x88s");
    }
    code.extend(b"tR");
}

fn storage(choices: &mut Choices<'_>, code: &mut Vec<u8>) {
    code.push(b'(');
    text(b"storage", code);
    name(choices, code);
    text(choices.one_of(&[b"0", b"1", b"2"]), code);
    text(choices.one_of(&[b"cpu".as_slice(), b"cuda:1", b"x"]), code);
    match choices.byte() % 4 {
        0 => code.extend([b'K', 4]),
        1 => code.extend([b'K', 8]),
        2 => code.extend([b'K', 16]),
        _ => int(choices, code),
    }
    code.extend(b"tQ");
}

fn small(choices: &mut Choices<'_>, code: &mut Vec<u8>) {
    if choices.rarely(24) {
        return int(choices, code);
    }
    code.extend([b'K', choices.byte() % 5]);
}

fn int(choices: &mut Choices<'_>, code: &mut Vec<u8>) {
    let value = choices.number();
    let sign = if choices.rarely(64) { -1 } else { 1 };
    code.extend([b'\x8a', 8]);
    code.extend((value as i64).wrapping_mul(sign).to_le_bytes());
}

fn text(text: &[u8], code: &mut Vec<u8>) {
    code.extend([b'\x8c', text.len() as u8]);
    code.extend(text);
}

fn name(choices: &mut Choices<'_>, code: &mut Vec<u8>) {
    let (module, name) = choices.one_of(&NAMES);
    code.extend(format!("c{module}\n{name}\n").as_bytes());
}
