//! Messages in the form of Kafka's own `JsonConverter`; the fields of records are base64.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rskafka_protocol::{FieldSchema, Message, StructSchema};
use serde_json::{Map, Value, json};

/// A message as its version has it.
pub(crate) fn of<M: Message>(message: &M, version: i16) -> Value {
    of_struct(message.to_json(), M::SCHEMA, version)
}

fn of_struct(value: Value, schema: &StructSchema, version: i16) -> Value {
    let Value::Object(mut values) = value else { panic!("{} is no struct: {value}", schema.name) };
    let mut object = Map::new();
    for field in schema.fields {
        let value = values.remove(field.name).expect("each field of the listing is one of the struct");
        let (from, to) = field.versions;
        let is_left_out = field.tag.is_some() && value == default_of(field);
        if (from..=to).contains(&version) && !is_left_out {
            object.insert(camel_case(field.name), of_field(value, field, version));
        }
    }
    assert!(values.is_empty(), "{} has fields that are not in the listing", schema.name);
    object.into()
}

fn of_field(value: Value, field: &FieldSchema, version: i16) -> Value {
    match (value, field.fields, (field.type_name)().as_str()) {
        (Value::Null, ..) => Value::Null,
        (Value::Array(elements), Some(schema), _) => {
            elements.into_iter().map(|element| of_struct(element, schema, version)).collect()
        }
        (value, Some(schema), _) => of_struct(value, schema, version),
        (value, None, "uuid") => BASE64_URL_SAFE_NO_PAD.encode(bytes(&value)).into(),
        (value, None, "bytes") => BASE64_STANDARD.encode(bytes(&value)).into(),
        (value, ..) => value,
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    let byte = |byte: &Value| u8::try_from(byte.as_u64().expect("a byte")).expect("a byte");
    value.as_array().expect("bytes").iter().map(byte).collect()
}

/// As the listing says.
fn default_of(field: &FieldSchema) -> Value {
    let type_name = (field.type_name)();
    match field.default {
        Some("i64::MAX") => return i64::MAX.into(),
        Some(number) => return number.parse::<i64>().expect("a number").into(),
        None if field.nullable_from.is_some() => return Value::Null,
        None if type_name.starts_with("[]") => return json!([]),
        None => {}
    }
    match (field.fields, type_name.as_str()) {
        (Some(schema), _) => {
            let fields = schema.fields.iter().map(|field| (field.name.to_owned(), default_of(field)));
            Value::Object(fields.collect())
        }
        (None, "uuid") => vec![0; 16].into(),
        (None, "bool") => false.into(),
        (None, "string") => "".into(),
        (None, _) => 0.into(),
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        name.push_str(&first.to_ascii_uppercase());
        name.push_str(rest);
    }
    name
}
