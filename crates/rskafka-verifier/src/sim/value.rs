//! What is appended: the content of a record follows from who sent it and its number.
//!
//! Invariant: a value that was read either is exactly that of one record, or is damaged.

use std::fmt;
use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};

const HEAD: usize = 8;
const LONGEST: usize = 80_000;

/// What values are made of: a value is a head and a piece of this.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut noise = vec![0; 2 * LONGEST];
    fastrand::Rng::with_seed(0).fill(&mut noise);
    noise
});

/// Has all that is allocated once and for all be there.
pub(super) fn warm_up() {
    LazyLock::force(&NOISE);
}

/// A record of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) writer: u32,
    /// The place in the order of the writer's records, from 0.
    pub(super) number: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} of writer {}", self.number, self.writer)
    }
}

/// What a value that was read is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Record(Id),
    Damaged(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(id) => id.fmt(f),
            Self::Damaged(what) => write!(f, "something damaged ({what})"),
        }
    }
}

impl Id {
    pub(super) fn value(self) -> Bytes {
        let (head, noise) = self.parts();
        let mut value = BytesMut::with_capacity(HEAD + noise.len());
        value.put_slice(&head);
        value.put_slice(noise);
        value.freeze()
    }

    fn parts(self) -> ([u8; HEAD], &'static [u8]) {
        let both = u64::from(self.writer) << 32 | u64::from(self.number);
        let mut random = fastrand::Rng::with_seed(both);
        // Some values fill a pipe, or more than one fetch.
        let length = match random.u16(..1_000) {
            0 => random.usize(20_000..LONGEST),
            1..50 => random.usize(200..3_000),
            _ => random.usize(..200),
        };
        let start = random.usize(..LONGEST);
        (both.to_be_bytes(), &NOISE[start..start + length])
    }

    fn is_of(self, value: &[u8]) -> bool {
        let (head, noise) = self.parts();
        value.split_at_checked(HEAD).is_some_and(|(first, rest)| first == head && rest == noise)
    }
}

impl Value {
    pub(super) fn of(value: Option<&Bytes>) -> Self {
        let Some(value) = value else {
            return Self::Damaged("no value".to_owned());
        };
        let (Some(writer), Some(number)) =
            (value.first_chunk(), value.get(4..).and_then(|rest| rest.first_chunk()))
        else {
            return Self::Damaged(format!("{} bytes", value.len()));
        };
        let id = Id { writer: u32::from_be_bytes(*writer), number: u32::from_be_bytes(*number) };
        match id.is_of(value) {
            true => Self::Record(id),
            false => Self::Damaged(format!("it says that it is {id}, and is not")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_and_any_change_of_it_is_damage() {
        for number in 0..2_000 {
            let id = Id { writer: 3, number };
            let value = id.value();
            assert_eq!(Value::of(Some(&value)), Value::Record(id));
            for at in [0, value.len() / 2, value.len() - 1] {
                let mut changed = value.to_vec();
                changed[at] ^= 1;
                assert!(matches!(Value::of(Some(&changed.into())), Value::Damaged(_)));
            }
        }
        assert!(matches!(Value::of(None), Value::Damaged(_)));
    }
}
