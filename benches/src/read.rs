//! Loading a file of tensors.

use std::sync::Arc;

use anyhow::Context;
use callbox_core::{DType, DumpSource, Group, LoadedTensor, TensorBuf, TensorSerializer};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::{FsSource, ReadMode, ReadOptions};

use crate::harness::{Measurement, Target, Variant, race};
use crate::{plain, session};

const ROUNDS: usize = 15;
const TARGET: Target = Target::Ratio(0.8);
/// 64 MiB of f32.
const SHAPE: [usize; 2] = [4096, 4096];

/// Measures both formats, read and mapped.
pub(crate) fn measure() -> anyhow::Result<Vec<Measurement>> {
    let formats: [Arc<dyn TensorSerializer>; 2] = [Arc::new(PtSerializer), Arc::new(SafetensorsSerializer)];
    let mut measurements = Vec::new();
    for format in formats {
        measurements.extend(measure_format(&format)?);
    }
    Ok(measurements)
}

fn measure_format(format: &Arc<dyn TensorSerializer>) -> anyhow::Result<Vec<Measurement>> {
    let folder = tempfile::tempdir()?;
    let elements = (0..SHAPE[0] * SHAPE[1] * 4).map(|byte| (byte % 251) as u8).collect();
    let tensor = TensorBuf::from_elements(DType::Float32, &SHAPE, elements)?;
    let path = session::write_group(folder.path(), Group::Inputs.stem(), &[("arg_0", tensor)], &**format)?;
    let bytes = path.metadata()?.len();

    let open = |mode| FsSource::open(folder.path(), vec![format.clone()], ReadOptions { mode });
    let (buffered, mapped) = (open(ReadMode::Buffered)?, open(ReadMode::Mapped)?);
    let extension = format.format().extension;
    let mut buffer = Vec::new();
    let read = vec![
        Variant::new(format!("plain read of a .{extension}"), || {
            plain::read(&path, &mut buffer)?;
            plain::touch(&buffer);
            Ok(())
        }),
        Variant::new(format!(".{extension} loaded, read"), || load(&buffered)).with_target(TARGET),
    ];
    let map = vec![
        Variant::new(format!("plain mapping of a .{extension}"), || {
            plain::touch(&plain::map(&path)?);
            Ok(())
        }),
        Variant::new(format!(".{extension} loaded, mapped"), || load(&mapped)).with_target(TARGET),
    ];
    Ok([race(ROUNDS, Some(bytes), read)?, race(ROUNDS, Some(bytes), map)?].concat())
}

fn load(source: &FsSource) -> anyhow::Result<()> {
    let session = source.calls()?;
    let tensors =
        source.load(&session.calls[0], Group::Inputs)?.context("the file that was written is not there")?;
    for (_, tensor) in tensors.iter() {
        match tensor {
            LoadedTensor::Whole(tensor) => plain::touch(tensor.storage()),
            LoadedTensor::WithoutElements { reason, .. } => anyhow::bail!("{reason}"),
        }
    }
    Ok(())
}
