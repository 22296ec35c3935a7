//! Messages and their headers: each decodes to its JSON and encodes to its bytes.

use std::collections::BTreeMap;

use base64::Engine;
use bytes::Bytes;
use rskafka_protocol::messages::{Visitor, visit_all};
use rskafka_protocol::{ApiKey, Encoder, Message, RequestHeader, ResponseHeader, VersionRange};
use serde_json::{Value, json};

use crate::data;
use crate::tally::{Tally, same};

/// Whether a vector is what this crate makes of it.
type Check = fn(&Vector) -> Result<(), String>;

/// What can be done with the vectors of one message.
struct Checks {
    name: &'static str,
    versions: VersionRange,
    decode: Check,
    encode: Check,
    decoded: usize,
    encoded: usize,
}

/// The messages of this crate, by API key and direction.
#[derive(Default)]
struct Spoken(BTreeMap<(i64, &'static str), Checks>);

impl Visitor for Spoken {
    fn visit<M: Message>(&mut self, direction: &'static str) {
        let (decode, encode): (Check, Check) = match direction {
            "request" => (decode_request::<M>, encode_request::<M>),
            _ => (decode_response::<M>, encode_response::<M>),
        };
        let checks = Checks { name: M::NAME, versions: M::VERSIONS, decode, encode, decoded: 0, encoded: 0 };
        self.0.insert((i64::from(M::API_KEY.0), direction), checks);
    }
}

struct Vector {
    id: String,
    version: i16,
    header: Vec<u8>,
    header_json: Value,
    body: Vec<u8>,
    body_json: Value,
    /// The records fields in document order, null for null.
    records: Vec<Value>,
    flexible: bool,
    header_version: i64,
    is_default: bool,
}

impl Vector {
    fn new(line: &Value) -> Self {
        Self {
            id: line["id"].as_str().expect("an id").to_owned(),
            version: line["version"].as_i64().and_then(|v| i16::try_from(v).ok()).expect("a version"),
            header: data::bytes(&line["header_hex"]),
            header_json: line["header_json"].clone(),
            body: data::bytes(&line["body_hex"]),
            body_json: line["body_json"].clone(),
            records: line["records_hex"].as_array().cloned().unwrap_or_default(),
            flexible: line["flexible"].as_bool().expect("whether the version is flexible"),
            header_version: line["header_version"].as_i64().expect("a header version"),
            is_default: line["kind"] == "default",
        }
    }

    fn frame(&self) -> Bytes {
        [self.header.as_slice(), &self.body].concat().into()
    }

    /// Header and body behind their length, as on the wire.
    fn on_the_wire(&self) -> Vec<u8> {
        let frame = self.frame();
        [&i32::try_from(frame.len()).unwrap().to_be_bytes(), frame.as_ref()].concat()
    }
}

#[test]
fn every_message_decodes_to_its_json_and_encodes_to_its_bytes() {
    let mut spoken = Spoken::default();
    visit_all(&mut spoken);
    let mut tally = Tally::new("messages", &["found", "decoded", "encoded"]);
    for line in data::lines("messages.jsonl") {
        tally.count("found");
        let vector = Vector::new(&line);
        let encodes = match line["kind"].as_str() {
            Some("default" | "filled") => true,
            Some("unknown_tags") => false,
            kind => {
                tally.fail(format!("{}: unknown kind {kind:?}", vector.id));
                continue;
            }
        };
        let direction = match line["type"].as_str() {
            Some("request") => "request",
            Some("response") => "response",
            direction => {
                tally.fail(format!("{}: unknown type {direction:?}", vector.id));
                continue;
            }
        };
        let key = line["api_key"].as_i64().expect("an API key");
        let Some(checks) = spoken.0.get_mut(&(key, direction)) else {
            tally.leave_out(format!("of {}, which is not spoken", line["api"]));
            continue;
        };
        if !vector.id.starts_with(&format!("{}-v{}-", checks.name, vector.version)) {
            tally.fail(format!("{} is not of {} version {}", vector.id, checks.name, vector.version));
            continue;
        }
        if !checks.versions.contains(vector.version) {
            let rule = format!("of {} outside of versions {}", checks.name, checks.versions);
            tally.leave_out(rule);
            continue;
        }
        tally.check("decoded", &vector.id, (checks.decode)(&vector));
        checks.decoded += 1;
        if encodes {
            tally.check("encoded", &vector.id, (checks.encode)(&vector));
            checks.encoded += 1;
        } else {
            tally.leave_out("from encoding only: unknown_tags");
        }
    }
    for checks in spoken.0.values().filter(|checks| checks.decoded == 0 || checks.encoded == 0) {
        tally.fail(format!("no vector of {} was decoded or encoded", checks.name));
    }
    tally.end();
}

fn decode_request<M: Message>(vector: &Vector) -> Result<(), String> {
    let frame = vector.frame();
    let (header, body) = RequestHeader::decode(&frame).map_err(|error| error.to_string())?;
    let json = json!({
        "requestApiKey": header.api_key.0,
        "requestApiVersion": header.api_version,
        "correlationId": header.correlation_id,
        "clientId": header.client_id,
    });
    same("header", json, vector.header_json.clone())?;
    same("header version", if M::is_flexible(vector.version) { 2 } else { 1 }, vector.header_version)?;
    decode_body::<M>(vector, &body)
}

fn decode_response<M: Message>(vector: &Vector) -> Result<(), String> {
    let frame = vector.frame();
    let (header, body) =
        ResponseHeader::decode::<M>(vector.version, &frame).map_err(|error| error.to_string())?;
    same("header", json!({ "correlationId": header.correlation_id }), vector.header_json.clone())?;
    let flexible = M::is_flexible(vector.version) && M::API_KEY != ApiKey::API_VERSIONS;
    same("header version", i64::from(flexible), vector.header_version)?;
    decode_body::<M>(vector, &body)
}

fn decode_body<M: Message>(vector: &Vector, body: &Bytes) -> Result<(), String> {
    same("flexible", M::is_flexible(vector.version), vector.flexible)?;
    same("body bytes", body.as_ref(), vector.body.as_slice())?;
    let message = M::decode(vector.version, body).map_err(|error| error.to_string())?;
    let mut json = crate::json::of(&message, vector.version);
    let mut records = Vec::new();
    take_records(&mut json, &mut records);
    same("body", json, vector.body_json.clone())?;
    same("records", records, vector.records.clone())
}

/// Puts a records field in golden's form: its size in the JSON, its bytes aside.
fn take_records(json: &mut Value, taken: &mut Vec<Value>) {
    match json {
        Value::Array(elements) => elements.iter_mut().for_each(|element| take_records(element, taken)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| take_records(field, taken));
            match fields.get("records") {
                Some(Value::Null) => taken.push(Value::Null),
                Some(Value::String(base64)) => {
                    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).expect("base64");
                    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    taken.push(hex.into());
                    fields.remove("records");
                    fields.insert("recordsSizeInBytes".to_owned(), bytes.len().into());
                }
                _ => {}
            }
        }
        _ => {}
    }
}

fn encode_request<M: Message>(vector: &Vector) -> Result<(), String> {
    let header = RequestHeader {
        api_key: M::API_KEY,
        api_version: vector.version,
        correlation_id: correlation_id(vector),
        client_id: vector.header_json["clientId"].as_str().map(str::to_owned),
    };
    encode::<M>(vector, |out| header.encode(M::is_flexible(vector.version), out))
}

fn encode_response<M: Message>(vector: &Vector) -> Result<(), String> {
    let header = ResponseHeader { correlation_id: correlation_id(vector) };
    encode::<M>(vector, |out| header.encode::<M>(vector.version, out))
}

fn encode<M: Message>(
    vector: &Vector,
    header: impl FnOnce(&mut Encoder) -> Result<(), rskafka_protocol::EncodeError>,
) -> Result<(), String> {
    // Nothing is set in a vector of this kind, so that our defaults must be Kafka's.
    let message = match vector.is_default {
        true => M::default(),
        false => M::decode(vector.version, &vector.body.clone().into()).map_err(|error| error.to_string())?,
    };
    let mut out = Encoder::for_frame();
    header(&mut out).map_err(|error| error.to_string())?;
    message.encode(vector.version, &mut out).map_err(|error| error.to_string())?;
    let frame = out.into_frame().map_err(|error| error.to_string())?;
    same("frame", frame.to_bytes().as_ref(), vector.on_the_wire().as_slice())
}

fn correlation_id(vector: &Vector) -> i32 {
    let id = vector.header_json["correlationId"].as_i64().expect("a correlation id");
    i32::try_from(id).expect("an int32")
}
