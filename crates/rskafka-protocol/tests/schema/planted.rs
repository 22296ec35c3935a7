//! The comparison finds mistakes: each kind is planted at each field of Kafka's schemas, one at a time.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::compare::{Comparison, Message};
use crate::kafka::{Schemas, versions};
use crate::{listing, print};

type Mistake = fn(&mut Map<String, Value>);
type ListMistake = fn(&mut Vec<Value>, usize);

const MISTAKES: [(&str, Mistake); 7] = [
    ("other names", |field| field["name"] = json!(format!("{}2", field["name"].as_str().unwrap()))),
    ("other types", |field| {
        field["type"] = if field["type"] == "int16" { json!("int64") } else { json!("int16") };
    }),
    ("other versions", |field| {
        let later = versions(&field["versions"]).unwrap().min + 1;
        field["versions"] = json!(format!("{later}+"));
    }),
    ("nullable or not", |field| {
        if field.remove("nullableVersions").is_none() {
            field.insert("nullableVersions".to_owned(), field["versions"].clone());
        }
    }),
    ("ignorable or not", |field| {
        let ignorable = field.get("ignorable").is_some_and(|ignorable| *ignorable == true);
        field.insert("ignorable".to_owned(), json!(!ignorable));
    }),
    ("other tags", |field| {
        let tag = field.get("tag").map_or(0, |tag| tag.as_i64().unwrap() + 1);
        field.insert("tag".to_owned(), json!(tag));
        field.insert("taggedVersions".to_owned(), field["versions"].clone());
    }),
    ("other defaults", |field| {
        field.insert("default".to_owned(), json!("7"));
    }),
];

/// Mistakes in a list of fields, at one of them.
const LIST_MISTAKES: [(&str, ListMistake); 3] = [
    ("deleted fields", |list, index| drop(list.remove(index))),
    ("added fields", |list, index| {
        let mut field = list[index].clone();
        field["name"] = json!("Another");
        list.insert(index, field);
    }),
    ("moved fields", |list, index| list.swap(index, index - 1)),
];

#[test]
fn a_mistake_in_any_field_is_found() {
    let mut planted = BTreeMap::new();
    for ours in listing::messages() {
        let schemas = Schemas::of(&ours.api, ours.direction);
        let mut check = |kind: &'static str, at: &str, schema: Value| {
            *planted.entry(kind).or_insert(0) += 1;
            assert!(differs(&ours, &schemas.with(schema)), "{kind}: not found at {}{at}", ours.name);
        };
        for field in spoken_fields(&schemas.schema, &ours) {
            for (kind, mistake) in MISTAKES {
                let mut schema = schemas.schema.clone();
                mistake(schema.pointer_mut(&field).and_then(Value::as_object_mut).expect("a field"));
                check(kind, &field, schema);
            }
            let (list, index) = field.rsplit_once('/').expect("a field is in a list");
            let index: usize = index.parse().expect("an index");
            for (kind, mistake) in LIST_MISTAKES {
                let mut schema = schemas.schema.clone();
                let list = schema.pointer_mut(list).and_then(Value::as_array_mut).expect("a list");
                let moves = index > 0 && list[index - 1..=index].iter().all(|field| has_place(field, &ours));
                if kind == "moved fields" && !moves {
                    continue;
                }
                mistake(list, index);
                check(kind, &field, schema);
            }
        }
    }
    let counts: Vec<String> = planted.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    print(&format!("planted and found: {}", counts.join(", ")));
    assert_eq!(planted.len(), MISTAKES.len() + LIST_MISTAKES.len(), "each kind of mistake was planted");
}

fn differs(ours: &Message, schemas: &Schemas) -> bool {
    let mut comparison = Comparison::default();
    comparison.message(ours, &schemas.message());
    !comparison.differences.is_empty()
}

/// The JSON pointers of all fields that a spoken version has.
fn spoken_fields(schema: &Value, ours: &Message) -> Vec<String> {
    let mut pointers = Vec::new();
    collect(schema, "", ours, &mut pointers);
    pointers
}

fn collect(parent: &Value, path: &str, ours: &Message, pointers: &mut Vec<String>) {
    for (index, field) in parent["fields"].as_array().into_iter().flatten().enumerate() {
        if is_spoken(field, ours) {
            let pointer = format!("{path}/fields/{index}");
            collect(field, &pointer, ours, pointers);
            pointers.push(pointer);
        }
    }
}

fn is_spoken(field: &Value, ours: &Message) -> bool {
    versions(&field["versions"]).is_some_and(|range| range.intersect(ours.versions).is_some())
}

/// Whether the field's place in the list is its place on the wire.
fn has_place(field: &Value, ours: &Message) -> bool {
    is_spoken(field, ours) && field.get("tag").is_none()
}
