//! A digest of a log's values that any consumer's printed output can be compared with.
//!
//! Invariant: the digest is SHA-256 over the values in offset order, each followed by a line feed; so
//! it is that of a console consumer's output, and depends on nothing else.

use std::fmt;
use std::io::{self, BufRead};

use sha2::{Digest as _, Sha256};

/// How many values there were, and their digest: `records=N digest=HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The number of values.
    pub records: u64,
    /// SHA-256 in hexadecimal digits.
    pub hex: String,
}

/// Builds a [`Digest`] value by value.
#[derive(Debug, Clone, Default)]
pub struct Digester {
    records: u64,
    hash: Sha256,
}

impl Digester {
    /// Adds the next value; it holds no line feed.
    pub fn add(&mut self, value: &[u8]) {
        self.records += 1;
        self.hash.update(value);
        self.hash.update(b"\n");
    }

    /// The digest of all values added.
    pub fn finish(self) -> Digest {
        let hash = self.hash.finalize();
        Digest { records: self.records, hex: hash.iter().map(|byte| format!("{byte:02x}")).collect() }
    }
}

impl Digest {
    /// The digest of the values that `lines` has, one each line. The last one need not be ended.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn of_lines(lines: impl BufRead) -> io::Result<Self> {
        let mut digester = Digester::default();
        for line in lines.split(b'\n') {
            digester.add(&line?);
        }
        Ok(digester.finish())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "records={} digest={}", self.records, self.hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Digest {
        let mut digester = Digester::default();
        values.iter().for_each(|value| digester.add(value.as_bytes()));
        digester.finish()
    }

    #[test]
    fn lines_and_values_have_the_same_digest() {
        let values = of(&["one", "", "three"]);
        assert_eq!(Digest::of_lines(&b"one\n\nthree\n"[..]).unwrap(), values);
        assert_eq!(Digest::of_lines(&b"one\n\nthree"[..]).unwrap(), values);
        assert_eq!(values.records, 3);
        // From sha256sum.
        assert_eq!(
            of(&["abc"]).to_string(),
            "records=1 digest=edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb"
        );
    }

    #[test]
    fn order_bounds_and_number_of_values_count() {
        let digest = of(&["one", "two"]);
        assert_ne!(digest, of(&["two", "one"]));
        assert_ne!(digest, of(&["onetwo"]));
        assert_ne!(digest, of(&["one", "two", ""]));
        assert_eq!(Digest::of_lines(io::empty()).unwrap(), of(&[]));
    }
}
