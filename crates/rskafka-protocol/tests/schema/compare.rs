//! What is compared, in the words of Kafka's schemas, and how it differs.

use std::fmt;

/// A range of versions as Kafka writes it: `3+`, `0-12`, `4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

impl Versions {
    pub(crate) fn intersect(self, other: Self) -> Option<Self> {
        let both = Self { min: self.min.max(other.min), max: self.max.min(other.max) };
        (both.min <= both.max).then_some(both)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.max {
            i16::MAX => write!(f, "{}+", self.min),
            max if max == self.min => write!(f, "{max}"),
            max => write!(f, "{}-{max}", self.min),
        }
    }
}

/// A request or a response.
pub(crate) struct Message {
    pub(crate) name: String,
    /// Kafka's name of the API.
    pub(crate) api: String,
    pub(crate) api_key: i64,
    /// `request` or `response`.
    pub(crate) direction: &'static str,
    pub(crate) versions: Versions,
    pub(crate) flexible: Option<Versions>,
    pub(crate) fields: Vec<Field>,
}

/// A field, with those of its struct.
pub(crate) struct Field {
    /// In snake case.
    pub(crate) name: String,
    pub(crate) type_name: String,
    pub(crate) versions: Versions,
    /// Where it may be null, within its own versions.
    pub(crate) nullable: Option<Versions>,
    pub(crate) ignorable: bool,
    /// Its tag, and the versions in which it is tagged.
    pub(crate) tag: Option<(i64, Versions)>,
    pub(crate) default: String,
    /// In the order of the wire; tagged ones last.
    pub(crate) fields: Vec<Field>,
}

/// The default of a type, where nothing else is said.
pub(crate) fn default_of(type_name: &str) -> &str {
    match type_name {
        "bool" => "false",
        "string" | "bytes" => "empty",
        "records" => "null",
        "uuid" => "zero",
        "int8" | "int16" | "int32" | "int64" => "0",
        array if array.starts_with("[]") => "empty",
        _ => "the struct's own",
    }
}

/// The differences found so far, and the counts of what was compared.
#[derive(Default)]
pub(crate) struct Comparison {
    pub(crate) messages: usize,
    pub(crate) fields: usize,
    pub(crate) differences: Vec<String>,
}

impl Comparison {
    pub(crate) fn message(&mut self, ours: &Message, kafka: &Message) {
        self.messages += 1;
        self.same(&ours.name, "name", &ours.name, &kafka.name);
        self.same(&ours.name, "direction", ours.direction, kafka.direction);
        self.same(&ours.name, "API key", ours.api_key, kafka.api_key);
        self.same(&ours.name, "spoken versions", ours.versions, kafka.versions);
        self.same(&ours.name, "flexible versions", or_none(ours.flexible), or_none(kafka.flexible));
        self.fields(&format!("{}: ", ours.name), &ours.fields, &kafka.fields);
    }

    /// `path` is of the struct that has the fields.
    fn fields(&mut self, path: &str, ours: &[Field], kafka: &[Field]) {
        let find = |fields: &'_ [Field], name: &str| fields.iter().position(|field| field.name == name);
        for theirs in kafka.iter().filter(|theirs| find(ours, &theirs.name).is_none()) {
            let Field { name, type_name, versions, .. } = theirs;
            self.differences
                .push(format!("{path}{name} ({type_name}, {versions}) is missing in the listing"));
        }
        let mut last = 0;
        for field in ours {
            let Some(theirs) = find(kafka, &field.name) else {
                let spoken = "in the spoken versions of Kafka's schema";
                self.differences.push(format!("{path}{} is in the listing, but not {spoken}", field.name));
                continue;
            };
            if theirs < last {
                let before = &kafka[theirs + 1].name;
                self.differences
                    .push(format!("{path}{} stands before {before} in Kafka's schema", field.name));
            }
            last = last.max(theirs);
            self.field(&format!("{path}{}", field.name), field, &kafka[theirs]);
        }
    }

    fn field(&mut self, path: &str, ours: &Field, kafka: &Field) {
        self.fields += 1;
        // Records are bytes to messages.
        let type_name = if kafka.type_name == "records" { "bytes" } else { &kafka.type_name };
        self.same(path, "type", ours.type_name.as_str(), type_name);
        self.same(path, "versions", ours.versions, kafka.versions);
        self.same(path, "nullable versions", or_none(ours.nullable), or_none(kafka.nullable));
        self.same(path, "ignorable", ours.ignorable, kafka.ignorable);
        let tag = |field: &Field| {
            field.tag.map_or("none".to_owned(), |(tag, versions)| format!("{tag} in {versions}"))
        };
        self.same(path, "tag", tag(ours), tag(kafka));
        self.same(path, "default", &ours.default, &kafka.default);
        self.fields(&format!("{path}."), &ours.fields, &kafka.fields);
    }

    fn same<T: PartialEq + fmt::Display>(&mut self, path: &str, what: &str, ours: T, kafka: T) {
        if ours != kafka {
            self.differences
                .push(format!("{path}: {what}: {ours} in the listing, {kafka} in Kafka's schema"));
        }
    }
}

fn or_none(versions: Option<Versions>) -> String {
    versions.map_or("none".to_owned(), |versions| versions.to_string())
}
