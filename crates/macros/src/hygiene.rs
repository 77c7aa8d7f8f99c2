//! Code of the macro's own beside the user's.

/// Does what `quote!` does; variables in it are no variables of the annotated function, whatever their names.
macro_rules! hygienic {
    ($($tokens:tt)*) => { quote::quote_spanned!(proc_macro2::Span::mixed_site()=> $($tokens)*) };
}

pub(crate) use hygienic;
