//! Printing that survives a reader that goes away (`| head`): what cannot be shown is dropped, and the program goes
//! on to its verdict. `println!` and `eprintln!` would panic.

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
