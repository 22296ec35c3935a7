//! SCRAM: one message of an otherwise right exchange is any bytes.
//!
//! Invariant: neither side ever accepts what the other could not have sent.

use std::sync::OnceLock;

use rskafka_protocol::scram::{
    ClientFinal, ClientFirst, Credentials, ITERATIONS, Mechanism, ServerFirst, ServerStart, StoredCredential,
};

// As in golden's `answer` vectors of SCRAM-SHA-256, so that these are seeds as they are.
const MECHANISM: Mechanism = Mechanism::Sha256;
const USERNAME: &str = "alice";
const PASSWORD: &str = "alice-secret";
const CLIENT_NONCE: &str = "373bf?=]g2{&~b!4/syrg}?q+|";
const SERVER_NONCE: &str = "srv";
const SALT: &[u8] = b"0123456789abcdef";

/// Checks a message. The first byte says which of the four it is, 0 being the client's first.
pub fn check(data: &[u8]) {
    let Some((which, message)) = data.split_first() else { return };
    match which % 4 {
        0 => client_first(message),
        1 => server_first(message),
        2 => client_final(message),
        _ => server_final(message),
    }
}

/// The messages of the right exchange, in the form of [`check`].
pub fn seeds() -> Vec<Vec<u8>> {
    let (server, client) = (answered(), proved());
    let messages = [begun().message(), server.message(), client.message()].map(<[u8]>::to_vec);
    let end = server.client_final(client.message()).expect("the proof is right");
    let messages = messages.into_iter().chain([end.message().to_vec()]);
    messages.zip(0..).map(|(message, which)| [vec![which], message].concat()).collect()
}

fn stored() -> &'static StoredCredential {
    static STORED: OnceLock<StoredCredential> = OnceLock::new();
    let stored = || StoredCredential::new(MECHANISM, PASSWORD, SALT, *ITERATIONS.start());
    STORED.get_or_init(|| stored().expect("a salt and the fewest iterations"))
}

fn begun() -> ClientFirst {
    let credentials = Credentials::new(USERNAME, PASSWORD);
    ClientFirst::new(MECHANISM, &credentials, CLIENT_NONCE).expect("a name and a nonce that can be sent")
}

fn answered() -> ServerFirst {
    let server = ServerStart::new(begun().message()).expect("the client's own message");
    server.answer(stored(), SERVER_NONCE)
}

fn proved() -> ClientFinal {
    begun().server_first(answered().message()).expect("the server's own message")
}

fn client_first(message: &[u8]) {
    let Ok(server) = ServerStart::new(message) else { return };
    assert!(!server.username().is_empty());
    let server = server.answer(stored(), SERVER_NONCE);
    if message != begun().message() {
        let accepted = server.client_final(proved().message()).is_ok();
        assert!(!accepted, "the proof does not cover the client's first message");
    }
}

fn server_first(message: &[u8]) {
    if is_slow(message) {
        return;
    }
    let Ok(client) = begun().server_first(message) else { return };
    if message != answered().message() {
        let accepted = answered().client_final(client.message()).is_ok();
        assert!(!accepted, "the proof does not cover the server's first message");
    }
}

fn client_final(message: &[u8]) {
    if answered().client_final(message).is_ok() {
        assert_eq!(message, proved().message(), "another proof is accepted");
    }
}

fn server_final(message: &[u8]) {
    if proved().server_final(message).is_ok() {
        let right = answered().client_final(proved().message()).expect("the proof is right");
        // Extensions may follow.
        let end = message.strip_prefix(right.message()).expect("another signature is accepted");
        assert!(end.is_empty() || end.starts_with(b","));
    }
}

/// Whether the iterations asked for would be done, and take long: slow inputs find nothing.
fn is_slow(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message);
    let iterations = text.split(',').find_map(|part| part.strip_prefix("i=")?.parse::<u32>().ok());
    iterations.is_some_and(|iterations| iterations > 5000 && ITERATIONS.contains(&iterations))
}
