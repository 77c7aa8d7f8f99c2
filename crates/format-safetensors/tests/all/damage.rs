//! Files that were cut, or in which bits changed.

use callbox_core::{DType, TensorBuf, TensorGroup};

use crate::{decode, encode};

fn small_file() -> Vec<u8> {
    let floats = TensorBuf::from_elements(DType::Float32, &[2, 2], vec![1; 16]).unwrap();
    let packed = TensorBuf::from_elements(DType::Float4E2M1FnX2, &[3], vec![2; 3]).unwrap();
    let tensors = vec![("floats", floats.as_view()), ("packed", packed.as_view())];
    encode(&TensorGroup { stem: "inputs", tensors })
}

#[test]
fn u57_no_part_of_a_file_passes_for_the_whole() {
    let file = small_file();
    for len in 0..file.len() {
        assert!(decode(file[..len].to_vec()).is_err(), "the first {len} bytes were accepted");
    }
}

/// The format has no checksum, so a flipped bit of the data is somebody else's to find. But it moves nothing.
#[test]
fn a_flipped_bit_changes_no_more_than_itself() {
    let file = small_file();
    let data = 19;
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(tensors) = decode(damaged) {
            let elements = tensors.iter().map(|(key, _)| crate::whole(&tensors, key).storage().len());
            assert_eq!(elements.sum::<usize>(), data, "bit {bit}");
        }
    }
}
