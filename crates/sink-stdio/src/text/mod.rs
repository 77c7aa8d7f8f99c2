//! How the log is spelled: as FlashInfer spells it, blanks and all.

mod event;
mod tensor;
mod value;

pub(crate) use self::event::push_event;
