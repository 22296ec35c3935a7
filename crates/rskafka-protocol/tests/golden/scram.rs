//! SCRAM: each exchange word for word from both sides, and what a client does with bad answers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rskafka_protocol::scram::{
    ClientFinal, ClientFirst, Credentials, Mechanism, ScramError, ServerStart, StoredCredential,
};
use serde_json::Value;

use crate::data;
use crate::tally::{Tally, same};

#[test]
fn every_exchange_is_held_word_for_word_and_bad_answers_are_refused() {
    let counts = ["found", "held by the client", "held by the server", "rejected", "accepted"];
    let mut tally = Tally::new("scram", &counts);
    for vector in data::lines("scram.jsonl") {
        tally.count("found");
        let name = text(&vector, "name");
        let Some(mechanism) = Mechanism::from_name(text(&vector, "mechanism")) else {
            match &vector["kafka_supported"] {
                Value::Bool(false) => tally.leave_out("of a mechanism that Kafka does not have"),
                _ => tally.fail(format!("{name}: unknown mechanism")),
            }
            continue;
        };
        match (text(&vector, "kind"), &vector["expect"]) {
            ("exchange", _) => {
                tally.check("held by the client", name, client_side(mechanism, &vector));
                tally.check("held by the server", name, server_side(mechanism, &vector));
            }
            ("answer", expect) => match expect.as_str() {
                Some("reject") => tally.check("rejected", name, rejected(mechanism, &vector)),
                Some("accept") => {
                    let outcome = answers(mechanism, &vector).map_err(|(at, error)| format!("{at}: {error}"));
                    tally.check("accepted", name, outcome);
                }
                Some("either") => {
                    let outcome = if answers(mechanism, &vector).is_ok() { "accepted" } else { "rejected" };
                    tally.leave_out(format!("that may be taken or not: {outcome}"));
                }
                _ => tally.fail(format!("{name}: expects {expect}")),
            },
            (kind, _) => tally.fail(format!("{name}: unknown kind {kind}")),
        }
    }
    tally.end();
}

fn client_side(mechanism: Mechanism, vector: &Value) -> Result<(), String> {
    let client = client(mechanism, vector).map_err(|error| error.to_string())?;
    same_text("client-first", client.message(), text(vector, "client_first"))?;
    let client = first(client, vector).map_err(|error| error.to_string())?;
    same_text("client-final", client.message(), text(vector, "client_final"))?;
    let outcome = client.server_final(text(vector, "server_final").as_bytes());
    outcome.map_err(|error| error.to_string())
}

fn server_side(mechanism: Mechanism, vector: &Value) -> Result<(), String> {
    let error = |error: ScramError| error.to_string();
    let salt = STANDARD.decode(text(vector, "salt_b64")).expect("base64");
    let iterations = vector["iterations"].as_u64().and_then(|n| u32::try_from(n).ok()).expect("iterations");
    let stored = StoredCredential::new(mechanism, text(vector, "password"), &salt, iterations);
    let stored = stored.map_err(error)?;

    let server = ServerStart::new(text(vector, "client_first").as_bytes()).map_err(error)?;
    same("user name", server.username(), text(vector, "username"))?;
    let is_token = vector["extensions"]["tokenauth"] == "true";
    same("delegation token", server.is_delegation_token(), is_token)?;
    let server = server.answer(&stored, text(vector, "server_nonce"));
    same_text("server-first", server.message(), text(vector, "server_first"))?;
    let server = server.client_final(text(vector, "client_final").as_bytes()).map_err(error)?;
    same_text("server-final", server.message(), text(vector, "server_final"))
}

fn rejected(mechanism: Mechanism, vector: &Value) -> Result<(), String> {
    match answers(mechanism, vector) {
        Err((at, _)) => same("place of the error", at, text(vector, "at")),
        Ok(()) => Err("it was accepted".to_owned()),
    }
}

/// Takes the server's messages, as many as there are; an error comes with the one it is in.
fn answers(mechanism: Mechanism, vector: &Value) -> Result<(), (&'static str, ScramError)> {
    let client = client(mechanism, vector).map_err(|error| ("client_first", error))?;
    let client = first(client, vector).map_err(|error| ("server_first", error))?;
    match vector["server_final"].as_str() {
        Some(message) => client.server_final(message.as_bytes()).map_err(|error| ("server_final", error)),
        None => Ok(()),
    }
}

fn client(mechanism: Mechanism, vector: &Value) -> Result<ClientFirst, ScramError> {
    let (username, password) = (text(vector, "username"), text(vector, "password"));
    let credentials = match vector["extensions"]["tokenauth"].as_str() {
        Some("true") => Credentials::delegation_token(username, password),
        _ => Credentials::new(username, password),
    };
    ClientFirst::new(mechanism, &credentials, text(vector, "client_nonce"))
}

fn first(client: ClientFirst, vector: &Value) -> Result<ClientFinal, ScramError> {
    client.server_first(text(vector, "server_first").as_bytes())
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("{field} is text in {vector}"))
}

fn same_text(what: &str, ours: &[u8], golden: &str) -> Result<(), String> {
    same(what, String::from_utf8_lossy(ours).as_ref(), golden)
}
