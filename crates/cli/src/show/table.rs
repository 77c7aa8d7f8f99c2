//! Arguments and results in columns.

use std::io::{self, Write};

use crate::describe::TensorText;
use crate::style;

/// One argument or result.
#[derive(Clone, Debug)]
pub(super) enum Row {
    /// A tensor, in columns.
    Tensor { key: String, text: TensorText },
    /// Anything else, behind its key.
    Value { key: String, text: String },
}

impl Row {
    /// Escapes the key, which is a text from the dump.
    pub(super) fn clean_key(&mut self) {
        let (Row::Tensor { key, .. } | Row::Value { key, .. }) = self;
        *key = style::clean(key);
    }

    pub(super) fn key(&self) -> &str {
        match self {
            Row::Tensor { key, .. } | Row::Value { key, .. } => key,
        }
    }
}

/// Prints sections of rows under their headings, all in the same columns; an empty section prints nothing.
pub(super) fn print(out: &mut dyn Write, sections: &[(&str, Vec<Row>)]) -> io::Result<()> {
    let mut widths = [0; 4];
    for row in sections.iter().flat_map(|(_, rows)| rows) {
        let cells = match row {
            Row::Tensor { key, text } => [key, &text.dtype, &text.shape, &text.layout].map(String::as_str),
            Row::Value { key, .. } => [key, "", "", ""],
        };
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let [first, dtype, shape, layout] = widths;
    for (heading, rows) in sections.iter().filter(|(_, rows)| !rows.is_empty()) {
        if !heading.is_empty() {
            writeln!(out, "{}", style::paint(style::dim(), heading))?;
        }
        for row in rows {
            let line = match row {
                Row::Tensor { key, text } => format!(
                    "  {key:<first$}  {:<dtype$}  {:<shape$}  {:<layout$}  {}",
                    text.dtype, text.shape, text.layout, text.content
                ),
                Row::Value { key, text } => format!("  {key:<first$}  {text}"),
            };
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_stand_in_columns_and_values_behind_their_keys() {
        let tensor = |key: &str, shape: &str| Row::Tensor {
            key: key.to_owned(),
            text: TensorText {
                dtype: "float16".to_owned(),
                shape: shape.to_owned(),
                layout: "contiguous".to_owned(),
                content: "min 0".to_owned(),
            },
        };
        let value = Row::Value { key: "kwarg_eps".to_owned(), text: "1e-06".to_owned() };
        let sections =
            [("", vec![tensor("arg_0", "[4, 64]"), value]), ("returned", vec![tensor("result", "[4]")])];
        let mut out = anstream::StripStream::new(Vec::new());
        print(&mut out, &sections).unwrap();
        let expected = "  arg_0      float16  [4, 64]  contiguous  min 0\n  kwarg_eps  1e-06\nreturned\n  \
                        result     float16  [4]      contiguous  min 0\n";
        assert_eq!(String::from_utf8(out.into_inner()).unwrap(), expected);
    }
}
