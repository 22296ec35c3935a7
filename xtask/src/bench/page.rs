//! Writes what was measured into `docs/benchmarks.md`.
//!
//! Invariant: only what stands between the marks of a section is replaced.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::check::Text;

/// Writes the page in this folder, and the drawings beside it.
pub(super) fn write(docs: &Path, texts: &[Text]) -> Result<()> {
    let path = docs.join("benchmarks.md");
    let mut page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for Text { section, text } in texts {
        if section.ends_with(".svg") {
            fs::write(docs.join(section), text)?;
        } else {
            page = replace(&page, section, text)?;
        }
    }
    fs::write(&path, page)?;
    say!("wrote {}", path.display());
    Ok(())
}

/// Puts `content` between the marks of `section`.
fn replace(text: &str, section: &str, content: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- measured: {section} -->\n"), format!("<!-- end: {section} -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("no mark {begin:?}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no mark {end:?}"))?;
    Ok(format!("{before}{begin}{content}{end}{after}"))
}

/// In Markdown. All columns but the first stand to the right.
pub(super) fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rows: String = rows.into_iter().map(line).collect();
    format!("| {} |\n|---{}|\n{rows}", heads.join(" | "), "|--:".repeat(heads.len() - 1))
}

#[cfg(test)]
mod tests {
    use super::super::check::{Check, HEADS, Row};
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = "a\n<!-- measured: x -->\nold\n<!-- end: x -->\nb\n";
        let expected = "a\n<!-- measured: x -->\nnew\n<!-- end: x -->\nb\n";
        assert_eq!(replace(text, "x", "new\n").unwrap(), expected);
        assert!(replace(text, "y", "new\n").is_err());
    }

    #[test]
    fn a_row_of_the_table_has_a_cell_below_each_head() {
        let Check::Allocations(counts) =
            Check::parse(r#"{"name":"n","what":"appends","allocations":[3,4]}"#).unwrap()
        else {
            unreachable!("it has allocations")
        };
        let table = table(&HEADS, [Row::of_counts(counts).cells.to_vec()]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines[0],
            "| what | ns/record | baseline | measured | limit | of the limit | quartiles | verdict |"
        );
        assert_eq!(lines[1], "|---|--:|--:|--:|--:|--:|--:|--:|");
        assert_eq!(lines[2], "| appends |  |  | 4 | 3 |  |  | MISSED (count) |");
    }
}
