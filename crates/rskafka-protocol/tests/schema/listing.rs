//! The listing of this crate, from the tables of fields that the messages have.

use rskafka_protocol::messages::{Visitor, visit_all};
use rskafka_protocol::{FieldSchema, StructSchema};

use crate::compare::{Field, Message, Versions, default_of};

/// Every message of the listing.
pub(crate) fn messages() -> Vec<Message> {
    let mut messages = Messages::default();
    visit_all(&mut messages);
    messages.0
}

#[derive(Default)]
struct Messages(Vec<Message>);

impl Visitor for Messages {
    fn visit<M: rskafka_protocol::Message>(&mut self, direction: &'static str) {
        self.0.push(Message {
            name: M::NAME.to_owned(),
            api: M::API_KEY.to_string(),
            api_key: M::API_KEY.0.into(),
            direction,
            versions: Versions { min: M::VERSIONS.min, max: M::VERSIONS.max },
            flexible: M::FLEXIBLE_FROM.map(|min| Versions { min, max: i16::MAX }),
            fields: fields(M::SCHEMA),
        });
    }
}

fn fields(schema: &StructSchema) -> Vec<Field> {
    schema.fields.iter().map(field).collect()
}

fn field(field: &FieldSchema) -> Field {
    let (min, max) = field.versions;
    let versions = Versions { min: min.max(0), max };
    let nullable = field.nullable_from.map(|from| Versions { min: from, max: i16::MAX });
    Field {
        name: field.name.to_owned(),
        type_name: (field.type_name)(),
        versions,
        nullable: nullable.and_then(|nullable| nullable.intersect(versions)),
        ignorable: field.ignorable,
        tag: field.tag.map(|tag| (tag.into(), versions)),
        default: default(field),
        fields: field.fields.map_or(Vec::new(), fields),
    }
}

/// Evaluates what the listing writes; what is not known here is given as it is, and so differs.
fn default(field: &FieldSchema) -> String {
    match field.default {
        None if field.nullable_from.is_some() => "null".to_owned(),
        None => default_of(&(field.type_name)()).to_owned(),
        Some("Some(String::new())" | "Some(Vec::new())") => "empty".to_owned(),
        Some("i32::MIN") => i32::MIN.to_string(),
        Some("i32::MAX") => i32::MAX.to_string(),
        Some("i64::MAX") => i64::MAX.to_string(),
        Some(literal) => literal.replace('_', ""),
    }
}
