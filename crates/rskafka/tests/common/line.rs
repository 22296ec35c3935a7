//! Records as lines of text: how programs beside the tests say what they have written or read.
//!
//! A line is the offset, the timestamp, the key, the value and each header, as `name=value`, with a space between. Bytes are
//! `x` and their hexadecimal digits; null is `-`.

use std::fmt::{self, Display, Formatter, Write as _};
use std::str::FromStr;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub offset: i64,
    /// In milliseconds.
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (key, value) = (digits(self.key.as_deref()), digits(self.value.as_deref()));
        write!(f, "{} {} {key} {value}", self.offset, self.timestamp)?;
        self.headers
            .iter()
            .try_for_each(|(name, value)| write!(f, " {}={}", digits(Some(name)), digits(value.as_deref())))
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split(' ');
        let mut next = || words.next().ok_or_else(|| format!("no record: {line:?}"));
        let number = |word: &str| word.parse().map_err(|_| format!("{word:?} in {line:?}"));
        let (offset, timestamp) = (number(next()?)?, number(next()?)?);
        let (key, value) = (bytes(next()?)?, bytes(next()?)?);
        let headers = words.map(|header| {
            let (name, value) = header.split_once('=').ok_or_else(|| format!("{header:?} in {line:?}"))?;
            Ok((bytes(name)?.ok_or("a header without a name")?, bytes(value)?))
        });
        Ok(Self { offset, timestamp, key, value, headers: headers.collect::<Result<_, String>>()? })
    }
}

fn digits(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "-".to_owned() };
    bytes.iter().fold("x".to_owned(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn bytes(word: &str) -> Result<Option<Vec<u8>>, String> {
    if word == "-" {
        return Ok(None);
    }
    let no_bytes = || format!("no bytes: {word:?}");
    let digits = word.strip_prefix('x').filter(|digits| digits.len() % 2 == 0).ok_or_else(no_bytes)?;
    let pair = |at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes = (0..digits.len()).step_by(2).map(|at| pair(at).ok_or_else(no_bytes));
    bytes.collect::<Result<_, _>>().map(Some)
}
