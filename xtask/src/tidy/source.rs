//! Rust source without what is not code: enough of a lexer to search for words without being fooled.

/// A Rust file, prepared for searching. All texts have the lines of the original.
#[derive(Debug)]
pub(super) struct Source {
    /// The code; comments and the insides of literals are blanks.
    pub(super) code: String,
    /// The code with everything behind `#[cfg(test)]` blanked too.
    pub(super) product: String,
}

impl Source {
    /// Blanks what is not code, then what is only tests.
    pub(super) fn parse(text: &str) -> Source {
        let code = without_text(text);
        let product = without_tests(&code);
        Source { code, product }
    }
}

/// Finds a word in code; gives the line and what follows the word.
///
/// A path such as `fs::rename` counts as a word: it must not begin or end inside an identifier.
pub(super) fn find_word<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    code.match_indices(word).filter_map(move |(place, _)| {
        let behind = &code[place + word.len()..];
        let in_identifier = code[..place].ends_with(is_identifier) || behind.starts_with(is_identifier);
        (!in_identifier).then(|| (line_of(code, place), behind))
    })
}

/// Counts the lines up to a place, from 1.
pub(super) fn line_of(text: &str, place: usize) -> usize {
    text[..place].matches('\n').count() + 1
}

/// Returns the length of a block that begins with an opening bracket, its closing one included.
pub(super) fn block_len(code: &str) -> usize {
    let mut depth = 0usize;
    for (place, character) in code.char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return place + character.len_utf8();
        }
    }
    code.len()
}

/// Returns the length of an item: up to its `;`, or its braces with a `;` behind them.
pub(super) fn item_len(code: &str) -> usize {
    let mut place = 0;
    while let Some(character) = code[place..].chars().next() {
        match character {
            ';' => return place + 1,
            '{' => {
                let end = place + block_len(&code[place..]);
                return end + usize::from(code[end..].starts_with(';'));
            }
            '(' | '[' => place += block_len(&code[place..]),
            _ => place += character.len_utf8(),
        }
    }
    code.len()
}

fn is_identifier(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Blanks comments and literals.
fn without_text(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let skipped = if code.ends_with(is_identifier) {
            quoted_len(rest)
        } else {
            comment_len(rest).or_else(|| raw_len(rest)).or_else(|| quoted_len(rest))
        };
        match skipped {
            Some(len) => {
                push_blanks(&mut code, &rest[..len]);
                rest = &rest[len..];
            }
            None => {
                code.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
    }
    code
}

/// Blanks items that are only compiled for tests, with their attribute.
fn without_tests(code: &str) -> String {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut product = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(place) = rest.find(ATTRIBUTE) {
        let (before, item) = rest.split_at(place);
        let len = ATTRIBUTE.len() + item_len(&item[ATTRIBUTE.len()..]);
        product.push_str(before);
        push_blanks(&mut product, &item[..len]);
        rest = &item[len..];
    }
    product.push_str(rest);
    product
}

fn push_blanks(code: &mut String, text: &str) {
    code.extend(text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
}

fn comment_len(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    // Block comments nest.
    let mut depth = 1;
    let mut place = 2;
    while depth > 0 {
        let next = text[place..].find(['/', '*']).map(|found| place + found);
        let Some(next) = next else { return Some(text.len()) };
        let (change, len) = match text.get(next..next + 2) {
            Some("/*") => (1, 2),
            Some("*/") => (-1, 2),
            Some(_) | None => (0, 1),
        };
        depth += change;
        place = next + len;
    }
    Some(place)
}

/// Measures `r"..."`, `r#"..."#` and their byte forms.
fn raw_len(text: &str) -> Option<usize> {
    let behind = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let inside = behind[hashes..].strip_prefix('"')?;
    let closing = format!("\"{}", &behind[..hashes]);
    let end = inside.find(&closing).map_or(inside.len(), |end| end + closing.len());
    Some(text.len() - inside.len() + end)
}

/// Measures `"..."` and `'.'`; a lifetime is neither.
fn quoted_len(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut characters = text.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if quote == '\'' && first != '\\' {
        let (place, second) = characters.next()?;
        return (second == '\'').then_some(place + 1);
    }
    let mut escaped = false;
    for (place, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            other if other == quote => return Some(place + 1),
            _ => {}
        }
    }
    Some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        for (text, expected) in [
            ("a // unsafe\nb", "a          \nb"),
            ("a /* x /* y */\n z */ b", "a             \n      b"),
            (r#"f("unsafe \" {", 'x', '\'', '{')"#, "f(             ,    ,     ,    )"),
            ("r#\"a \" b\"# r\"\\\" x", "                x"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("b\"x\" br\"y\" r#type", "b          r#type"),
            ("'\\u{1f600}' \"two\nlines\"", "            \n      "),
        ] {
            let code = without_text(text);
            assert_eq!(code.trim_end(), expected.trim_end(), "{text}");
            assert_eq!(code.matches('\n').count(), text.matches('\n').count());
        }
    }

    #[test]
    fn what_is_only_for_tests_is_blanked() {
        let source = Source::parse(
            "fn a() {}\n#[cfg(test)]\nuse x::{y};\n#[cfg(test)]\nmod tests {\n    fn b() { [1; 2]; }\n}\nfn c() {}\n",
        );
        let words: Vec<_> = source.product.split_whitespace().collect();
        assert_eq!(words.join(" "), "fn a() {} fn c() {}");
        assert_eq!(find_word(&source.product, "c").map(|(line, _)| line).collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn words_end_where_identifiers_end() {
        let found = |word| find_word("unsafe_code unsafe fs::rename prefs::rename\nunsafe", word).count();
        assert_eq!((found("unsafe"), found("fs::rename"), found("code")), (2, 1, 0));
    }

    #[test]
    fn an_item_ends_at_its_semicolon_or_its_braces() {
        for (code, expected) in [
            ("const A: [u8; 2] = [1, 2]; fn", "const A: [u8; 2] = [1, 2];"),
            ("fn a(b: [u8; 2]) { c; { d } } fn", "fn a(b: [u8; 2]) { c; { d } }"),
        ] {
            assert_eq!(&code[..item_len(code)], expected);
        }
    }
}
