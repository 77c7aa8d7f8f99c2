//! Files of `torch.save`.

use callbox_format_pt::PtSerializer;

use crate::choices::Choices;
use crate::tensors::check_file;
use crate::{archive, pickle};

/// Reads the input as a file. Seeds have checksums of zero, which count as not computed, so that a mutation is not
/// answered with a wrong checksum.
pub(crate) fn file(input: &[u8]) {
    check_file(&PtSerializer, input);
}

/// Reads an archive in which some headers lie.
pub(crate) fn forged(input: &[u8]) {
    let mut choices = Choices::of(input);
    let pickle = pickle::dict_of_tensors(&mut choices);
    check_file(&PtSerializer, &archive::forged(&pickle, &mut choices));
}
