//! Printing that survives a reader that goes away (`| head`): what cannot be shown is dropped, and the program goes
//! on to its verdict. `println!` and `eprintln!` would panic. xtask has this file, too.

use std::fmt::Display;

/// Prints a line on standard output.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// Prints a line on standard error.
#[macro_export]
macro_rules! note {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

/// `1 task`, `2 tasks`.
pub(crate) fn counted<N: Display + PartialEq + From<u8>>(number: N, one: &str, many: &str) -> String {
    format!("{number} {}", if number == N::from(1) { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let texts = [0_u64, 1, 2].map(|number| counted(number, "task is", "tasks are"));
        assert_eq!(texts, ["0 tasks are", "1 task is", "2 tasks are"]);
    }
}
