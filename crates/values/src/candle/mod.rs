//! Tensors of candle, and its dtypes and devices.
//!
//! A tensor in host memory is borrowed: its value holds the read lock of its storage, and nothing is copied.
//! Shape, strides and offset are candle's own, and views of one storage are seen to share it. One in device
//! memory is copied to the host.
//!
//! Recursive read locks can wait for ever when a writer comes between them, for example a variable that another
//! thread sets. Two views of one storage in one call are such a case here as they are in candle's own operations.

mod names;
mod strided;
mod tensor;
