//! Writes messages from the tables of their fields, with arrays as large as a frame has room for.
//!
//! Invariant: what is not asked to be large is as small as the version allows.

use rskafka_protocol::{FieldSchema, StructSchema};

/// How a message is to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) version: i16,
    pub(crate) is_flexible: bool,
}

/// The way to a field: the place of each struct's field, from the message on.
pub(crate) type Path = Vec<usize>;

/// What is put in the place of an array.
pub(crate) enum Large {
    /// As many of the smallest elements as fit into this many bytes.
    Elements(usize),
    /// The same, with arrays of one element in each.
    Nested(usize),
    /// An array that claims this many elements, and then these bytes.
    Claim(u32, Vec<u8>),
    /// Every array on the way, and the one at its end, claims as many of the smallest elements as fit into
    /// this many bytes, which then are no elements.
    Claims(usize),
}

impl Layout {
    fn has(self, field: &FieldSchema) -> bool {
        (field.versions.0..=field.versions.1).contains(&self.version)
    }

    /// The ways to all arrays of the version, those in tagged fields too.
    pub(crate) fn arrays(self, schema: &'static StructSchema) -> Vec<Path> {
        let mut found = Vec::new();
        self.find(schema, &mut Vec::new(), &mut found);
        found
    }

    fn find(self, schema: &'static StructSchema, way: &mut Path, found: &mut Vec<Path>) {
        for (index, field) in schema.fields.iter().enumerate() {
            if !self.has(field) || (field.tag.is_some() && !self.is_flexible) {
                continue;
            }
            way.push(index);
            if (field.type_name)().starts_with("[]") {
                found.push(way.clone());
            }
            if let Some(fields) = field.fields {
                self.find(fields, way, found);
            }
            way.pop();
        }
    }

    /// The message with one array that is large.
    pub(crate) fn write(self, schema: &'static StructSchema, path: &[usize], large: &Large) -> Vec<u8> {
        let mut out = Vec::new();
        self.put_struct(schema, Some((path, large)), 0, &mut out);
        out
    }

    /// The message with as little as possible, and these bytes for its tagged fields.
    pub(crate) fn write_tags(self, schema: &'static StructSchema, tags: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.put_struct(schema, None, 0, &mut out);
        out.pop();
        out.extend(tags);
        out
    }

    /// `inner` is the number of elements of arrays that are on no way.
    fn put_struct(
        self,
        schema: &'static StructSchema,
        way: Option<(&[usize], &Large)>,
        inner: usize,
        out: &mut Vec<u8>,
    ) {
        let split = way.and_then(|(path, large)| Some((path.split_first()?, large)));
        let mut tagged = None;
        for (index, field) in schema.fields.iter().enumerate().filter(|(_, field)| self.has(field)) {
            let way =
                split.filter(|((first, _), _)| **first == index).map(|((_, rest), large)| (rest, large));
            match (field.tag, way) {
                (Some(tag), Some(_)) => {
                    let mut value = Vec::new();
                    self.put_field(field, way, inner, &mut value);
                    tagged = Some((tag, value));
                }
                (Some(_), None) => {}
                (None, way) => self.put_field(field, way, inner, out),
            }
        }
        if self.is_flexible {
            put_unsigned(u64::from(tagged.is_some()), out);
            if let Some((tag, value)) = tagged {
                put_unsigned(u64::from(tag), out);
                put_unsigned(value.len() as u64, out);
                out.extend(value);
            }
        }
    }

    pub(crate) fn put_field(
        self,
        field: &FieldSchema,
        way: Option<(&[usize], &Large)>,
        inner: usize,
        out: &mut Vec<u8>,
    ) {
        let type_name = (field.type_name)();
        match type_name.strip_prefix("[]") {
            Some(element) => self.put_array(field, element, way, inner, out),
            None => {
                let is_optional = field.nullable_from.is_some() && field.fields.is_some();
                if is_optional {
                    out.push(if way.is_some() { 1 } else { 0xff });
                }
                if !is_optional || way.is_some() {
                    self.put_value(field, &type_name, way, inner, out);
                }
            }
        }
    }

    fn put_array(
        self,
        field: &FieldSchema,
        element: &str,
        way: Option<(&[usize], &Large)>,
        inner: usize,
        out: &mut Vec<u8>,
    ) {
        let mut repeat = |count: usize, inner| {
            self.put_length(count, out);
            for _ in 0..count {
                self.put_value(field, element, None, inner, out);
            }
        };
        let size = |inner| {
            let mut one = Vec::new();
            self.put_value(field, element, None, inner, &mut one);
            one.len()
        };
        match way {
            None => repeat(inner, inner),
            Some(([], Large::Elements(room))) => repeat(room / size(0), 0),
            Some(([], Large::Nested(room))) => repeat(room / size(1), 1),
            Some(([], Large::Claim(count, filler))) => {
                self.put_length(*count as usize, out);
                out.extend(filler);
            }
            Some(([], Large::Claims(room))) => {
                self.put_length(room / size(0), out);
                out.resize(out.len() + room, 0xff);
            }
            Some((_, large)) => {
                let count = if let Large::Claims(room) = large { room / size(0) } else { 1 };
                self.put_length(count, out);
                self.put_value(field, element, way, inner, out);
            }
        }
    }

    fn put_value(
        self,
        field: &FieldSchema,
        type_name: &str,
        way: Option<(&[usize], &Large)>,
        inner: usize,
        out: &mut Vec<u8>,
    ) {
        if let Some(fields) = field.fields {
            return self.put_struct(fields, way, inner, out);
        }
        let size = match type_name {
            "bool" | "int8" => 1,
            "int16" => 2,
            "int32" => 4,
            "int64" => 8,
            "uuid" => 16,
            "string" if !self.is_flexible => 2,
            "string" | "bytes" | "records" => return self.put_length(0, out),
            other => panic!("{other}: a type that this test does not know"),
        };
        out.resize(out.len() + size, 0);
    }

    fn put_length(self, length: usize, out: &mut Vec<u8>) {
        match self.is_flexible {
            true => put_unsigned(length as u64 + 1, out),
            false => out.extend((length as u32).to_be_bytes()),
        }
    }
}

pub(crate) fn put_unsigned(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
