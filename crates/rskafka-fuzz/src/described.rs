//! Makes messages by the table of fields: bytes taken as a description give a body that must decode.
//!
//! Invariant: what a body looks like is written here once more, from the table and Kafka's rules alone; no
//! encoder of the protocol crate is used.

use rskafka_protocol::{FieldSchema, StructSchema};

/// A body of the message of that table, with lengths and values as the description says, byte by byte.
/// Behind its end all are 0 or null.
pub(crate) fn body(schema: &StructSchema, version: i16, flexible: bool, description: &[u8]) -> Vec<u8> {
    let mut writer = Writer { version, flexible, description, out: Vec::new() };
    writer.put_struct(schema);
    writer.out
}

struct Writer<'a> {
    version: i16,
    flexible: bool,
    description: &'a [u8],
    out: Vec<u8>,
}

impl Writer<'_> {
    fn next(&mut self) -> u8 {
        let Some((byte, rest)) = self.description.split_first() else { return 0 };
        self.description = rest;
        *byte
    }

    fn put_struct(&mut self, schema: &StructSchema) {
        let (version, flexible) = (self.version, self.flexible);
        let is_there = |field: &&FieldSchema| (field.versions.0..=field.versions.1).contains(&version);
        for field in schema.fields.iter().filter(is_there).filter(|field| field.tag.is_none()) {
            self.put_field(field);
        }
        if !flexible {
            return;
        }
        let mut tagged: Vec<_> =
            schema.fields.iter().filter(is_there).filter_map(|f| Some((f.tag?, f))).collect();
        tagged.retain(|_| self.next() & 1 != 0);
        tagged.sort_by_key(|(tag, _)| *tag);
        let has_unknown = self.next() & 1 != 0;
        self.put_varint(tagged.len() + usize::from(has_unknown));
        for (tag, field) in tagged {
            let before = std::mem::take(&mut self.out);
            self.put_field(field);
            let value = std::mem::replace(&mut self.out, before);
            self.put_tagged(tag as usize, &value);
        }
        if has_unknown {
            self.put_tagged(1000, b"unknown");
        }
    }

    fn put_tagged(&mut self, tag: usize, value: &[u8]) {
        self.put_varint(tag);
        self.put_varint(value.len());
        self.out.extend_from_slice(value);
    }

    fn put_field(&mut self, field: &FieldSchema) {
        let is_nullable = field.nullable_from.is_some_and(|from| self.version >= from);
        let type_name = (field.type_name)();
        if let Some(element) = type_name.strip_prefix("[]") {
            let Some(count) = self.length(is_nullable, 4) else { return self.put_length(None, 4) };
            self.put_length(Some(count), 4);
            (0..count).for_each(|_| self.put_value(element, field));
            return;
        }
        if is_nullable && field.fields.is_some() {
            let is_null = self.next() & 1 == 0;
            self.out.push(if is_null { 0xff } else { 1 });
            if is_null {
                return;
            }
        }
        match type_name.as_str() {
            "string" | "bytes" => {
                let length = self.length(is_nullable, 256);
                self.put_length(length, if type_name == "string" { 2 } else { 4 });
                self.out.extend(std::iter::repeat_n(b'x', length.unwrap_or_default()));
            }
            other => self.put_value(other, field),
        }
    }

    /// A value that is neither null nor an array.
    fn put_value(&mut self, type_name: &str, field: &FieldSchema) {
        let size = match (type_name, field.fields) {
            (_, Some(schema)) => return self.put_struct(schema),
            ("string", None) => {
                let length = usize::from(self.next());
                self.put_length(Some(length), 2);
                self.out.extend(std::iter::repeat_n(b'x', length));
                return;
            }
            ("bool", None) => {
                let value = self.next() & 1;
                return self.out.push(value);
            }
            ("int8", None) => 1,
            ("int16", None) => 2,
            ("int32", None) => 4,
            ("int64", None) => 8,
            ("uuid", None) => 16,
            (other, None) => unreachable!("{} is of the unknown type {other}", field.name),
        };
        // Small numbers of both signs.
        let value = i128::from(self.next().cast_signed());
        self.out.extend_from_slice(&value.to_be_bytes()[16 - size..]);
    }

    /// A length below `limit`; `None` is null.
    fn length(&mut self, is_nullable: bool, limit: usize) -> Option<usize> {
        let length = usize::from(self.next()) % limit;
        if is_nullable { length.checked_sub(1) } else { Some(length) }
    }

    /// A length in `size` bytes, or compact.
    fn put_length(&mut self, length: Option<usize>, size: usize) {
        if self.flexible {
            return self.put_varint(length.map_or(0, |length| length + 1));
        }
        let length = length.map_or(-1, |length| length as i32);
        self.out.extend_from_slice(&length.to_be_bytes()[4 - size..]);
    }

    fn put_varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}
