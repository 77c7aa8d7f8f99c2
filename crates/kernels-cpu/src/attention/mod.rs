//! Attention by blocks of keys: [`kernel`] walks through them, [`softmax`] corrects what came before.

mod kernel;
mod softmax;
#[cfg(test)]
mod tests;

pub(crate) use self::kernel::attend;
