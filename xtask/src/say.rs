//! Printing that survives a reader that goes away (`| head`): what cannot be shown is dropped, and the command
//! continues. `println!` and `eprintln!` would panic.

/// A line on standard output.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// A line on standard error.
macro_rules! note {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

/// `1 process`, `2 processes`.
pub(crate) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let texts = [0, 1, 2].map(|number| counted(number, "process", "processes"));
        assert_eq!(texts, ["0 processes", "1 process", "2 processes"]);
    }
}
