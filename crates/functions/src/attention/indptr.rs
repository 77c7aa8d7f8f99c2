//! How a batch is cut into sequences: bounds of ranges, and tables of pages.

use std::ops::Range;

use callbox_core::{Bound, ExecError};

use super::problem::{Operands, Tokens};
use super::vectors::Vectors;
use crate::operand;

/// FlashInfer counts tokens in int32.
const MAX_TOKENS: usize = i32::MAX as usize;

/// The argument that cuts the query rows into sequences.
const ROWS: &str = "qo_indptr";

/// Reads `[n + 1]` bounds of `n` ranges that follow each other.
pub(crate) fn ranges(arguments: &Bound<'_>, name: &str) -> Result<Vec<Range<usize>>, ExecError> {
    let bounds = list(arguments, name)?;
    if bounds.is_empty() {
        return Err(operand::wrong_shape(name, &[0], "[batch + 1]".to_owned()));
    }
    bounds
        .windows(2)
        .map(|pair| {
            let (start, end) = (pair[0], pair[1]);
            match (usize::try_from(start), usize::try_from(end)) {
                (Ok(start), Ok(end)) if start <= end && end <= MAX_TOKENS => Ok(start..end),
                _ => Err(operand::wrong_value(
                    name,
                    format!("[.., {start}, {end}, ..]"),
                    "expected int32 bounds that are not negative and do not decrease",
                )),
            }
        })
        .collect()
}

/// Fails where the last of some ranges ends beyond what there is.
pub(crate) fn check_end(
    name: &str,
    ranges: &[Range<usize>],
    available: usize,
    what: &str,
) -> Result<(), ExecError> {
    match ranges.last() {
        Some(last) if last.end > available => {
            let reason = format!("{what} has only {available}");
            Err(operand::wrong_value(name, format!("[.., {}]", last.end), reason))
        }
        Some(_) | None => Ok(()),
    }
}

/// Reads the rows of each of the `batch` sequences of `keys` from `qo_indptr`.
pub(crate) fn rows(arguments: &Bound<'_>, keys: &str, batch: usize) -> Result<Vec<Range<usize>>, ExecError> {
    let rows = ranges(arguments, ROWS)?;
    if rows.len() == batch {
        return Ok(rows);
    }
    Err(operand::wrong_shape(ROWS, &[rows.len() + 1], format!("[{}], as `{keys}` has it", batch + 1)))
}

/// Fails unless the queries have as many rows as were planned.
pub(crate) fn check_rows(operands: &Operands, rows: &[Range<usize>]) -> Result<(), ExecError> {
    let planned = rows.last().map_or(0, |last| last.end);
    if operands.rows() == planned {
        return Ok(());
    }
    let queries = operands.queries();
    Err(queries.wrong_shape(format!("{planned} rows, the last of `{ROWS}`")))
}

fn list(arguments: &Bound<'_>, name: &str) -> Result<Vec<i64>, ExecError> {
    let [_] = operand::sizes(arguments, name, "one dimension")?;
    arguments.i64s(name)
}

/// Names of the arguments that hold a page table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageArguments {
    pub(crate) indptr: &'static str,
    pub(crate) indices: &'static str,
    pub(crate) last_page_len: &'static str,
}

/// Which pages hold each sequence's keys and values.
#[derive(Clone, Debug)]
pub(crate) struct PageTable {
    names: PageArguments,
    page_size: usize,
    indices: Vec<usize>,
    sequences: Vec<PagedSequence>,
}

#[derive(Clone, Debug)]
struct PagedSequence {
    /// Its part of `indices`.
    pages: Range<usize>,
    /// Tokens.
    len: usize,
}

impl PageTable {
    /// Reads `indptr` `[batch + 1]`, `indices` `[indptr[-1]]` or more, `last_page_len` `[batch]` and
    /// `page_size`.
    ///
    /// A sequence of `n` pages has `(n - 1) * page_size + last_page_len` tokens, one without pages has none,
    /// whatever its `last_page_len`.
    pub(crate) fn read(arguments: &Bound<'_>, names: PageArguments) -> Result<PageTable, ExecError> {
        let page_size = arguments.size("page_size")?;
        if page_size == 0 {
            let reason = "a page holds at least one token";
            return Err(operand::wrong_value("page_size", page_size, reason));
        }
        let ranges = ranges(arguments, names.indptr)?;
        let indices = list(arguments, names.indices)?;
        check_end(names.indptr, &ranges, indices.len(), &format!("`{}`", names.indices))?;
        let used = ranges.last().map_or(0, |last| last.end);
        // What lies before the first sequence and behind the last is never read, whatever it is.
        let unused = ranges.first().map_or(0, |first| first.start);
        let indices = indices[..used]
            .iter()
            .enumerate()
            .map(|(place, &page)| match usize::try_from(page) {
                _ if place < unused => Ok(0),
                Ok(page) => Ok(page),
                Err(_) => Err(operand::wrong_value(names.indices, page, "a page index cannot be negative")),
            })
            .collect::<Result<_, _>>()?;
        let meaning = format!("one for each of the sequences of `{}`", names.indptr);
        let last = operand::integers_of(arguments, names.last_page_len, &[ranges.len()], &meaning)?;
        let sequences = ranges
            .into_iter()
            .zip(last)
            .map(|(pages, last)| {
                let len = tokens(names, pages.len(), page_size, last)?;
                Ok(PagedSequence { pages, len })
            })
            .collect::<Result<_, ExecError>>()?;
        Ok(PageTable { names, page_size, indices, sequences })
    }

    /// Returns the number of sequences.
    pub(crate) fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Returns where the keys of each sequence lie.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = Tokens<'_>> {
        self.sequences.iter().map(|sequence| Tokens::Pages {
            pages: &self.indices[sequence.pages.clone()],
            page_size: self.page_size,
            len: sequence.len,
        })
    }

    /// Fails unless a cache has pages of the planned size, and all those that the table names.
    pub(crate) fn check(&self, cache: &Vectors) -> Result<(), ExecError> {
        if cache.slots() != self.page_size {
            return Err(cache.wrong_shape(format!("pages of {} tokens, as planned", self.page_size)));
        }
        let mut used = self.sequences.iter().flat_map(|sequence| &self.indices[sequence.pages.clone()]);
        match used.find(|&&page| page >= cache.pages()) {
            Some(page) => {
                let reason = format!("`{}` has {} pages", cache.name(), cache.pages());
                Err(operand::wrong_value(self.names.indices, page, reason))
            }
            None => Ok(()),
        }
    }
}

fn tokens(names: PageArguments, pages: usize, page_size: usize, last: i64) -> Result<usize, ExecError> {
    let Some(full) = pages.checked_sub(1) else {
        return Ok(0);
    };
    let last = match usize::try_from(last) {
        Ok(last) if last <= page_size => last,
        _ => {
            let reason = format!("a page holds {page_size} tokens");
            return Err(operand::wrong_value(names.last_page_len, last, reason));
        }
    };
    let len = full.checked_mul(page_size).and_then(|len| len.checked_add(last));
    len.filter(|&len| len <= MAX_TOKENS).ok_or_else(|| {
        let value = format!("[.., a sequence of {pages} pages, ..]");
        let reason = format!("with pages of {page_size} tokens it would have more than {MAX_TOKENS}");
        operand::wrong_value(names.indptr, value, reason)
    })
}
