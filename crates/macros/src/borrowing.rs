//! What a function's result may borrow, as far as the signature tells.

use syn::visit::{Visit, visit_type_reference};
use syn::visit_mut::{VisitMut, visit_type_mut};
use syn::{
    GenericArgument, Lifetime, PathArguments, ReturnType, Signature, Type, TypeImplTrait, TypeReference,
    parse_quote,
};

/// What stands in a result's type.
#[derive(Default)]
pub(crate) struct ResultType {
    /// Lifetimes by name.
    lifetimes: Vec<Lifetime>,
    /// A lifetime that is left out.
    elided: bool,
    /// `impl Trait`, which may borrow every argument.
    opaque: bool,
}

impl ResultType {
    pub(crate) fn of(signature: &Signature) -> ResultType {
        let mut found = ResultType::default();
        found.visit_return_type(&signature.output);
        // What is elided is borrowed from `self`, where there is one.
        found.elided &= signature.receiver().is_none();
        found
    }

    /// Tells whether the result may borrow from an argument of this type.
    pub(crate) fn may_borrow(&self, reference: &TypeReference) -> bool {
        let named = match &reference.lifetime {
            Some(lifetime) if lifetime.ident != "_" => self.lifetimes.contains(lifetime),
            Some(_) | None => self.elided,
        };
        named || self.opaque
    }
}

impl<'ast> Visit<'ast> for ResultType {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        self.elided |= reference.lifetime.is_none();
        visit_type_reference(self, reference);
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident == "_" {
            self.elided = true;
        } else {
            self.lifetimes.push(lifetime.clone());
        }
    }

    fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
        self.opaque = true;
    }
}

/// Returns the `&mut T` in `&mut T` and `Option<&mut T>`.
pub(crate) fn mutable_reference(ty: &Type) -> Option<&TypeReference> {
    match ty {
        Type::Reference(reference) if reference.mutability.is_some() => Some(reference),
        Type::Paren(inner) => mutable_reference(&inner.elem),
        Type::Group(inner) => mutable_reference(&inner.elem),
        other => optional(other).and_then(|inner| match inner {
            Type::Reference(reference) if reference.mutability.is_some() => Some(reference),
            _ => None,
        }),
    }
}

/// Returns the `T` of `Option<T>`.
pub(crate) fn optional(ty: &Type) -> Option<&Type> {
    generic(ty, "Option")
}

/// Returns the first argument of a type that is written `NAME<..>`, with whatever path.
pub(crate) fn generic<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) => Some(inner),
        Some(_) | None => None,
    }
}

/// Tells whether a type is written `Result`, with whatever path and arguments.
pub(crate) fn is_result(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|segment| segment.ident == "Result"),
        _ => false,
    }
}

/// Returns a function's result type as a closure can have it: `_` in place of `impl Trait`.
pub(crate) fn closure_result(output: &ReturnType) -> Type {
    struct Infer;
    impl VisitMut for Infer {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            match ty {
                Type::ImplTrait(_) => *ty = parse_quote!(_),
                other => visit_type_mut(self, other),
            }
        }
    }

    match output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => {
            let mut ty = (**ty).clone();
            Infer.visit_type_mut(&mut ty);
            ty
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the first parameter's reference may be borrowed by the result.
    fn borrows(function: &str) -> bool {
        let function: syn::ItemFn = syn::parse_str(&format!("fn f{function} {{}}")).unwrap();
        let syn::FnArg::Typed(typed) = function.sig.inputs.last().unwrap() else { panic!("no parameter") };
        ResultType::of(&function.sig).may_borrow(mutable_reference(&typed.ty).unwrap())
    }

    #[test]
    fn a_result_that_borrows_an_argument_is_recognised() {
        for function in [
            "(x: &mut T) -> &T",
            "(x: &mut T) -> Option<&mut U>",
            "(x: &mut T) -> Iter<'_>",
            "<'a>(x: &'a mut T) -> Iter<'a>",
            "<'a>(y: &T, x: Option<&'a mut T>) -> Result<&'a T>",
            "(x: &mut T) -> impl Iterator",
        ] {
            assert!(borrows(function), "{function}");
        }
        for function in [
            "(x: &mut T)",
            "(x: &mut T) -> Result<Tensor>",
            "(&self, x: &mut T) -> &T",
            "<'a>(y: &'a T, x: &mut T) -> &'a T",
            "(x: &mut T) -> &'static str",
            "<'a, 'b>(x: Option<&'b mut T>) -> &'a str",
        ] {
            assert!(!borrows(function), "{function}");
        }
    }

    #[test]
    fn impl_trait_is_left_to_inference() {
        let check = |output: &str, expected: &str| {
            let function: syn::ItemFn = syn::parse_str(&format!("fn f() {output} {{}}")).unwrap();
            let ty = closure_result(&function.sig.output);
            assert_eq!(crate::signature_text::text_of(&ty), expected);
        };
        check("", "()");
        check("-> impl Iterator<Item = u8>", "_");
        check("-> Result<(u8, impl Fn() -> u8), E>", "Result<(u8, _), E>");
        check("-> Box<dyn Fn(&T) -> &T>", "Box<dyn Fn(&T) -> &T>");
    }
}
