//! Tensors of candle: what is borrowed, what is copied, and the way back.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

mod block;
mod recorded;

use block::{Block, WIDTH, numbers};
use callbox_core::{Device as RecordedDevice, StorageId};
use callbox_values::{
    FromValue, FromValueError, OwnedValue, TensorBuf, TensorView, ToValue, Value, to_owned_value,
};
use candle_core::{DType, Device, Tensor, Var};

const DTYPES: [DType; 10] = [
    DType::U8,
    DType::U32,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::BF16,
    DType::F16,
    DType::F32,
    DType::F64,
    DType::F8E4M3,
];

fn view(tensor: &Tensor) -> TensorView<'_> {
    match tensor.to_value() {
        Value::Tensor(view) => view,
        other => panic!("{other:?}"),
    }
}

fn recorded(value: &impl ToValue) -> OwnedValue {
    to_owned_value(&value.to_value()).unwrap()
}

/// The logical elements, bit by bit.
fn bits(tensor: &Tensor) -> Vec<u8> {
    TensorBuf::from_value(recorded(tensor)).unwrap().to_bytes()
}

/// Checks that a tensor's value has its layout, and that it comes back with its bits and its strides.
fn check(what: &str, tensor: &Tensor) {
    let view = view(tensor);
    let (_, layout) = tensor.storage_and_layout();
    assert_eq!(view.layout.shape(), layout.dims(), "{what}");
    assert_eq!(view.layout.strides(), layout.stride(), "{what}");
    assert_eq!(view.layout.offset(), layout.start_offset(), "{what}");
    drop(view);

    let again = Tensor::from_value(recorded(tensor)).unwrap();
    assert_eq!((again.dtype(), again.dims()), (tensor.dtype(), tensor.dims()), "{what}");
    assert_eq!(bits(&again), bits(tensor), "{what}");
    // A dimension of one element has no stride to speak of.
    let strides = |tensor: &Tensor| -> Vec<usize> {
        let sizes = tensor.dims().iter().zip(tensor.stride());
        sizes.filter(|(size, _)| **size != 1).map(|(_, stride)| *stride).collect()
    };
    assert_eq!(strides(&again), strides(tensor), "{what}");
}

#[test]
fn every_tensor_of_a_transformer_block_comes_back() {
    for dtype in [DType::F32, DType::BF16] {
        let block = Block::new(dtype).unwrap();
        let x = numbers(9, &[5, WIDTH]).unwrap().to_dtype(dtype).unwrap();
        let mut seen = 0;
        let result = block.forward(&x, &mut |name, tensor| {
            check(name, tensor);
            seen += 1;
        });
        check("result", &result.unwrap());
        assert_eq!(seen, 8);
        for weight in [&block.attention_norm, &block.qkv, &block.output, &block.gate, &block.up, &block.down]
        {
            check("weight", weight);
        }
    }
}

#[test]
fn a_block_run_on_what_came_back_gives_the_same_bits() {
    let again = |tensor: &Tensor| Tensor::from_value(recorded(tensor)).unwrap();
    for dtype in [DType::F32, DType::BF16] {
        let block = Block::new(dtype).unwrap();
        let x = numbers(9, &[5, WIDTH]).unwrap().to_dtype(dtype).unwrap();
        let expected = block.forward(&x, &mut |_, _| {}).unwrap();
        let rebuilt = Block {
            attention_norm: again(&block.attention_norm),
            qkv: again(&block.qkv),
            output: again(&block.output),
            mlp_norm: again(&block.mlp_norm),
            gate: again(&block.gate),
            up: again(&block.up),
            down: again(&block.down),
        };
        assert_eq!(bits(&rebuilt.forward(&again(&x), &mut |_, _| {}).unwrap()), bits(&expected));
    }
}

#[test]
fn views_of_every_kind_keep_their_strides() {
    let cube = numbers(1, &[4, 6, 8]).unwrap();
    for (what, tensor) in [
        ("whole", cube.clone()),
        ("transposed", cube.transpose(0, 2).unwrap()),
        ("permuted", cube.permute((1, 2, 0)).unwrap()),
        ("cut outside", cube.narrow(0, 1, 2).unwrap()),
        ("cut inside", cube.narrow(2, 3, 4).unwrap()),
        ("cut twice and turned", cube.narrow(1, 2, 3).unwrap().narrow(2, 1, 5).unwrap().t().unwrap()),
        ("one column", cube.narrow(2, 7, 1).unwrap().squeeze(2).unwrap()),
        ("expanded", cube.narrow(0, 0, 1).unwrap().broadcast_as((3, 6, 8)).unwrap()),
        ("expanded and turned", numbers(1, &[5]).unwrap().broadcast_as((3, 5)).unwrap().t().unwrap()),
        ("of one", numbers(1, &[1]).unwrap().squeeze(0).unwrap()),
        ("of none", Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap()),
    ] {
        check(what, &tensor);
    }
}

#[test]
fn every_dtype_that_both_have_comes_back() {
    for dtype in DTYPES {
        let tensor = (numbers(3, &[3, 4]).unwrap() * 20.0).unwrap().abs().unwrap().to_dtype(dtype).unwrap();
        check(dtype.as_str(), &tensor);
        check(dtype.as_str(), &tensor.t().unwrap());
    }
    let scales = Tensor::from_raw_buffer(&[126, 127, 128], DType::F8E8M0, &[3], &Device::Cpu).unwrap();
    check("f8e8m0", &scales);
}

#[test]
fn nothing_is_copied_and_views_of_a_storage_share_it() {
    let whole = numbers(1, &[4, 6]).unwrap();
    let part = whole.narrow(0, 2, 2).unwrap();
    let address = match &*whole.storage_and_layout().0 {
        candle_core::Storage::Cpu(storage) => storage.as_slice::<f32>().unwrap().as_ptr().addr(),
        other => panic!("{other:?}"),
    };
    assert_eq!(view(&whole).storage.id, StorageId::new(address));
    assert_eq!(view(&part).storage.id, StorageId::new(address));
    assert_eq!(view(&part).storage.bytes.len(), 4 * 6 * size_of::<f32>());
    let [q, _, v] = block::split_heads(&numbers(1, &[5, 3 * WIDTH]).unwrap()).unwrap();
    assert_eq!(view(&q).storage.id, view(&v).storage.id);
    assert_ne!(view(&whole.copy().unwrap()).storage.id, view(&whole).storage.id);
}

#[test]
fn a_variable_stays_one_and_can_be_set_once_its_value_is_dropped() {
    let variable = Var::from_tensor(&numbers(1, &[2, 3]).unwrap()).unwrap();
    let value = variable.to_value();
    assert!(matches!(&value, Value::Tensor(view) if view.flags.requires_grad));
    let kept = to_owned_value(&value).unwrap();
    drop(value);
    variable.set(&numbers(2, &[2, 3]).unwrap()).unwrap();

    let again = Tensor::from_value(kept.clone()).unwrap();
    assert!(again.is_variable());
    assert_eq!(bits(&again), bits(&numbers(1, &[2, 3]).unwrap()));
    assert_eq!(Var::from_value(kept).unwrap().dims(), [2, 3]);
    assert!(!view(&variable.as_detached_tensor()).flags.requires_grad);
}

#[test]
fn a_dtype_of_less_than_a_byte_is_a_text() {
    let packed = Tensor::from_raw_buffer(&[0x21, 0x43], DType::F4, &[4], &Device::Cpu).unwrap();
    let Value::Opaque { class, repr } = packed.to_value() else { panic!("a tensor") };
    assert_eq!(class, "Tensor");
    assert_eq!(repr.as_str(), Some("<[4] of f4, not recordable: a dtype without a name in torch>"));
}

#[test]
fn dtypes_and_devices_come_back() {
    for dtype in DTYPES.into_iter().chain([DType::F4, DType::F6E2M3, DType::F6E3M2, DType::F8E8M0]) {
        assert_eq!(DType::from_value(recorded(&dtype)).unwrap(), dtype);
    }
    assert!(matches!(DType::BF16.to_value(), Value::DType(name) if name == "torch.bfloat16"));
    assert_eq!(RecordedDevice::from_value(recorded(&Device::Cpu)).unwrap(), RecordedDevice::Cpu);
    assert!(Device::from_value(recorded(&Device::Cpu)).unwrap().is_cpu());
}

#[test]
fn what_candle_does_not_have_is_refused() {
    let refused = Device::from_value(recorded(&RecordedDevice::Cuda(3)));
    assert!(matches!(refused, Err(FromValueError::Library(_))), "built without CUDA");
    let flags = TensorBuf::from_elements(callbox_core::DType::Bool, &[2], vec![0, 1]).unwrap();
    let error = Tensor::from_value(Value::Tensor(flags)).unwrap_err();
    assert_eq!(error.to_string(), "`torch.bool` is no dtype of candle");
    let error = Tensor::from_value(Value::int(1)).unwrap_err();
    assert_eq!(error.to_string(), "expected a tensor, found a value of type int");
}
