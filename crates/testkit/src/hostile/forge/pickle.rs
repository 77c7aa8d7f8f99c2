//! Pickled values, each as the instructions that leave it on the stack.

/// An integer.
pub fn int(value: i64) -> Vec<u8> {
    [&[0x8a, 8], value.to_le_bytes().as_slice()].concat()
}

/// A text.
pub fn text(text: &str) -> Vec<u8> {
    [b"X", (text.len() as u32).to_le_bytes().as_slice(), text.as_bytes()].concat()
}

/// A class or function by its module and name.
pub fn name(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

/// A tuple.
pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", items.concat().as_slice(), b"t"].concat()
}

/// A tuple of integers.
pub fn ints(values: &[i64]) -> Vec<u8> {
    tuple(&values.iter().map(|&value| int(value)).collect::<Vec<_>>())
}

/// A call of a function.
pub fn call(function: Vec<u8>, arguments: &[Vec<u8>]) -> Vec<u8> {
    [function, tuple(arguments), b"R".to_vec()].concat()
}

/// A bool.
pub fn yes_or_no(value: bool) -> Vec<u8> {
    vec![if value { 0x88 } else { 0x89 }]
}

/// An empty `collections.OrderedDict`, which torch gives each tensor as its hooks.
pub fn ordered_dict() -> Vec<u8> {
    call(name("collections", "OrderedDict"), &[])
}

/// A storage of so many elements, kept in an entry.
pub fn storage(class: &str, entry: &str, count: i64) -> Vec<u8> {
    let id = [text("storage"), name("torch", class), text(entry), text("cpu"), int(count)];
    [tuple(&id), b"Q".to_vec()].concat()
}

/// A storage of four float32 in the entry `0`.
pub fn float_storage() -> Vec<u8> {
    storage("FloatStorage", "0", 4)
}

/// A tensor; everything counts elements.
pub fn tensor(storage: Vec<u8>, offset: i64, size: &[i64], stride: &[i64]) -> Vec<u8> {
    let arguments = [storage, int(offset), ints(size), ints(stride), yes_or_no(false), ordered_dict()];
    call(name("torch._utils", "_rebuild_tensor_v2"), &arguments)
}

/// A whole pickle of a dict.
pub fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<_> = entries.iter().flat_map(|(key, value)| [text(key), value.clone()]).collect();
    program(&[b"}(".as_slice(), &items.concat(), b"u"].concat())
}

/// A whole pickle of the value that the instructions leave.
pub fn program(instructions: &[u8]) -> Vec<u8> {
    [b"\x80\x02", instructions, b"."].concat()
}

/// A pickle of many tensors that are built from the very same parts, a few bytes each.
pub fn many_of_one(count: usize, function: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
    let mut entries = [text("first"), name("torch._utils", function), b"q\x00".to_vec()].concat();
    entries.extend([tuple(arguments), b"q\x01R".to_vec()].concat());
    for number in 1..count {
        entries.extend(text(&number.to_string()));
        entries.extend(b"h\x00h\x01R");
    }
    program(&[b"}(".as_slice(), &entries, b"u"].concat())
}
