//! Kafka's schemas: JSON with `//` comments, one file per message.
//!
//! Invariant: a property that is not known here ends the test, for it may change what is on the wire.

use serde_json::{Map, Value};

use crate::compare::{Field, Message, Versions, default_of};
use crate::data;

/// Old versions that Kafka has and this crate leaves out: the API, and the first version that is spoken.
const SPOKEN_FROM: [(&str, i16); 4] =
    [("FindCoordinator", 1), ("Metadata", 1), ("OffsetForLeaderEpoch", 3), ("SaslHandshake", 1)];

const OF_MESSAGE: [&str; 9] = [
    "apiKey",
    "type",
    "name",
    "listeners",
    "validVersions",
    "flexibleVersions",
    "latestVersionUnstable",
    "commonStructs",
    "fields",
];

const OF_FIELD: [&str; 12] = [
    "name",
    "type",
    "versions",
    "nullableVersions",
    "ignorable",
    "tag",
    "taggedVersions",
    "default",
    "fields",
    "about",
    "entityType",
    "mapKey",
];

/// The names of all APIs that there are schemas of.
pub(crate) fn apis() -> Vec<String> {
    let apis: Value = serde_json::from_str(&data::text("apis.json")).expect("JSON");
    let apis = apis.as_array().expect("a list of APIs");
    apis.iter().map(|api| api["api"].as_str().expect("a name").to_owned()).collect()
}

/// What Kafka says of one message.
#[derive(Clone)]
pub(crate) struct Schemas {
    api: String,
    direction: &'static str,
    /// Whether brokers do not offer the last version by default; only the request's schema says so.
    latest_version_unstable: bool,
    /// The message's own schema.
    pub(crate) schema: Value,
}

impl Schemas {
    pub(crate) fn of(api: &str, direction: &'static str) -> Self {
        let request = read(&format!("{api}Request"));
        Self {
            api: api.to_owned(),
            direction,
            latest_version_unstable: request["latestVersionUnstable"] == true,
            schema: if direction == "request" { request } else { read(&format!("{api}Response")) },
        }
    }

    /// The same with another schema in the place of the message's own.
    pub(crate) fn with(&self, schema: Value) -> Self {
        Self { schema, ..self.clone() }
    }

    pub(crate) fn message(&self) -> Message {
        let schema = object(&self.schema, &OF_MESSAGE);
        let mut spoken = versions(&schema["validVersions"]).expect("a message has versions");
        spoken.max -= i16::from(self.latest_version_unstable);
        if let Some((_, from)) = SPOKEN_FROM.iter().find(|(api, _)| *api == self.api) {
            spoken.min = *from;
        }
        let reader = Reader { spoken, common: schema.get("commonStructs").and_then(Value::as_array) };
        Message {
            name: text(&schema["name"]).to_owned(),
            api: self.api.clone(),
            api_key: schema["apiKey"].as_i64().expect("a number"),
            direction: if schema["type"] == self.direction { self.direction } else { "another" },
            versions: spoken,
            flexible: versions(&schema["flexibleVersions"]),
            fields: reader.fields(&schema["fields"]),
        }
    }
}

struct Reader<'s> {
    spoken: Versions,
    common: Option<&'s Vec<Value>>,
}

impl Reader<'_> {
    fn fields(&self, fields: &Value) -> Vec<Field> {
        let fields = fields.as_array().expect("a list of fields");
        let mut fields: Vec<Field> = fields.iter().filter_map(|field| self.field(field)).collect();
        fields.sort_by_key(|field| field.tag.map(|(tag, _)| tag));
        fields
    }

    /// `None` if no spoken version has the field.
    fn field(&self, field: &Value) -> Option<Field> {
        let field = object(field, &OF_FIELD);
        let type_name = text(&field["type"]);
        let in_versions = versions(&field["versions"])?;
        in_versions.intersect(self.spoken)?;
        let range = |property| field.get(property).and_then(versions);
        let tag = field.get("tag").map(|tag| tag.as_i64().expect("a number"));
        Some(Field {
            name: snake_case(text(&field["name"])),
            type_name: type_name.to_owned(),
            versions: in_versions,
            nullable: range("nullableVersions").and_then(|nullable| nullable.intersect(in_versions)),
            ignorable: field.get("ignorable").is_some_and(|ignorable| *ignorable == true),
            tag: tag.map(|tag| (tag, range("taggedVersions").expect("a tag has versions"))),
            default: default(type_name, field.get("default")),
            fields: match field.get("fields").or_else(|| self.common_fields(type_name)) {
                Some(fields) => self.fields(fields),
                None => Vec::new(),
            },
        })
    }

    fn common_fields(&self, type_name: &str) -> Option<&Value> {
        let name = type_name.trim_start_matches("[]");
        self.common?.iter().find(|common| common["name"] == name).map(|common| &common["fields"])
    }
}

fn default(type_name: &str, default: Option<&Value>) -> String {
    let text = match default {
        None => return default_of(type_name).to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).expect("hex digits").to_string(),
        None if text.is_empty() => "empty".to_owned(),
        None => text,
    }
}

/// `3+`, `0-12` or `4`; `None` for `none`.
pub(crate) fn versions(versions: &Value) -> Option<Versions> {
    let text = text(versions);
    let number = |text: &str| text.parse().expect("a version is a number");
    if text == "none" {
        return None;
    }
    let (min, max) = match (text.strip_suffix('+'), text.split_once('-')) {
        (Some(min), _) => (number(min), i16::MAX),
        (None, Some((min, max))) => (number(min), number(max)),
        (None, None) => (number(text), number(text)),
    };
    Some(Versions { min, max })
}

fn read(name: &str) -> Value {
    let text = data::text(&format!("schemas/{name}.json"));
    let lines: Vec<&str> = text.lines().map(without_comment).collect();
    serde_json::from_str(&lines.join("\n")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A `//` in a string begins no comment.
fn without_comment(line: &str) -> &str {
    let begins = |(at, _): &(usize, &str)| line[..*at].matches('"').count().is_multiple_of(2);
    line.match_indices("//").find(begins).map_or(line, |(at, _)| &line[..at])
}

fn object<'v>(value: &'v Value, known: &[&str]) -> &'v Map<String, Value> {
    let object = value.as_object().expect("an object");
    let unknown = object.keys().find(|property| !known.contains(&property.as_str()));
    assert!(unknown.is_none(), "{}: property {unknown:?} is not known", object["name"]);
    object
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
