//! A port fits on a screen.

use super::Finding;
use super::source::{block_len, find_word, item_len};
use super::tree::Tree;

const PORTS: &str = "crates/core/src/ports/";
const MAX_METHODS: usize = 6;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut ports = tree.rust().filter(|(file, _)| file.path.starts_with(PORTS)).peekable();
    if ports.peek().is_none() {
        return vec![Finding::new(PORTS, 1, "the ports are not where tidy looks for them")];
    }
    ports.flat_map(|(file, source)| large_traits(&file.path, &source.product)).collect()
}

fn large_traits(path: &str, product: &str) -> Vec<Finding> {
    find_word(product, "trait")
        .filter_map(|(line, behind)| {
            let methods = find_word(body(behind), "fn").count();
            let name = behind.split([':', ' ', '<', '{']).find(|part| !part.is_empty()).unwrap_or_default();
            (methods > MAX_METHODS).then(|| {
                let message = format!("{name} has {methods} methods, at most {MAX_METHODS}: split the role");
                Finding::new(path, line, message)
            })
        })
        .collect()
}

fn body(behind: &str) -> &str {
    let item = &behind[..item_len(behind)];
    item.find('{').map_or("", |open| &item[open..][..block_len(&item[open..])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seventh_method_is_found() {
        let check = |methods| {
            let port =
                format!("pub trait A: B {{\n{}}}\ntrait C {{ fn c(); }}\n", "    fn a();\n".repeat(methods));
            check(&Tree::of(&[("crates/core/src/ports/running.rs", &port)])).len()
        };
        assert_eq!((check(6), check(7)), (0, 1));
        assert_eq!(super::check(&Tree::default()).len(), 1);
    }
}
