//! Both sides against each other: they agree, and on nothing that was changed on the way.

use proptest::prelude::*;

use super::server::OTHER_HEADER;
use super::*;

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const PASSWORD: &str = "pencil-пароль";
const SALT: &[u8] = b"0123456789abcdef";

fn stored(mechanism: Mechanism) -> StoredCredential {
    StoredCredential::new(mechanism, PASSWORD, SALT, 4096).unwrap()
}

fn client(mechanism: Mechanism) -> ClientFirst {
    ClientFirst::new(mechanism, &Credentials::new("alice", PASSWORD), NONCE).unwrap()
}

/// An exchange in which `tamper` sees each message on its way, in order from 0. Gives the name of the
/// user that the server took the client for, once both sides are satisfied.
fn exchange(
    stored: &StoredCredential,
    client: ClientFirst,
    nonce: &str,
    mut tamper: impl FnMut(usize, &[u8]) -> Vec<u8>,
) -> Result<String, ScramError> {
    let server = ServerStart::new(&tamper(0, client.message()))?.answer(stored, nonce);
    let client = client.server_first(&tamper(1, server.message()))?;
    let server = server.client_final(&tamper(2, client.message()))?;
    client.server_final(&tamper(3, server.message()))?;
    Ok(server.username().to_owned())
}

fn untouched(_: usize, message: &[u8]) -> Vec<u8> {
    message.to_vec()
}

fn mechanism() -> impl Strategy<Value = Mechanism> {
    prop::sample::select(&Mechanism::ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_sides_agree(
        mechanism in mechanism(),
        username in "[^\0]{1,20}",
        password in any::<String>(),
        nonces in ("[!-+\\--~]{1,40}", "[!-+\\--~]{1,40}"),
        salt in prop::collection::vec(any::<u8>(), 1..40),
        iterations in 4096u32..4200,
        token in any::<bool>(),
    ) {
        let stored = StoredCredential::new(mechanism, &password, &salt, iterations).unwrap();
        let credentials = match token {
            true => Credentials::delegation_token(&username, &password),
            false => Credentials::new(&username, &password),
        };
        let client = ClientFirst::new(mechanism, &credentials, &nonces.0).unwrap();
        prop_assert_eq!(ServerStart::new(client.message()).unwrap().is_delegation_token(), token);
        prop_assert_eq!(exchange(&stored, client, &nonces.1, untouched), Ok(username));
    }

    #[test]
    fn another_password_is_refused(mechanism in mechanism(), password in any::<String>()) {
        prop_assume!(password != PASSWORD);
        let client = ClientFirst::new(mechanism, &Credentials::new("alice", password), NONCE).unwrap();
        let outcome = exchange(&stored(mechanism), client, SERVER_NONCE, untouched);
        prop_assert_eq!(outcome, Err(ScramError::new("the client's proof is wrong")));
    }

    #[test]
    fn a_changed_byte_in_the_first_messages_is_refused(
        mechanism in mechanism(),
        message in 0..2usize,
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let outcome = exchange(&stored(mechanism), client(mechanism), SERVER_NONCE, |index, bytes| {
            let mut bytes = bytes.to_vec();
            if index == message {
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
            }
            bytes
        });
        prop_assert!(outcome.is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_either_side_panic(bytes in any::<Vec<u8>>(), text in "[nrsipcvaem=,0-9A-Za-z+/]{0,60}") {
        let (first, last) = last_states(Mechanism::Sha256);
        for message in [bytes.as_slice(), text.as_bytes()] {
            let _ = ServerStart::new(message);
            prop_assert!(client(Mechanism::Sha256).server_first(message).is_err());
            prop_assert!(first.clone().client_final(message).is_err());
            prop_assert!(last.clone().server_final(message).is_err());
        }
    }

    #[test]
    fn names_are_escaped_and_come_back(name in "[^\0]{1,40}") {
        let escaped = message::escape(&name).unwrap();
        prop_assert!(!escaped.contains(','));
        prop_assert_eq!(message::unescape(&escaped), Some(name));
    }
}

/// The states behind the slow steps, computed once.
fn last_states(mechanism: Mechanism) -> &'static (ServerFirst, ClientFinal) {
    static STATES: std::sync::OnceLock<[(ServerFirst, ClientFinal); 2]> = std::sync::OnceLock::new();
    let states = STATES.get_or_init(|| {
        Mechanism::ALL.map(|mechanism| {
            let client = client(mechanism);
            let server = ServerStart::new(client.message()).unwrap();
            let server = server.answer(&stored(mechanism), SERVER_NONCE);
            let client = client.server_first(server.message()).unwrap();
            (server, client)
        })
    });
    match mechanism {
        Mechanism::Sha256 => &states[0],
        Mechanism::Sha512 => &states[1],
    }
}

#[test]
fn every_changed_byte_in_the_last_messages_is_refused() {
    for (server, client) in Mechanism::ALL.map(last_states) {
        let last = server.clone().client_final(client.message()).unwrap();
        client.clone().server_final(last.message()).unwrap();
        for flip in 1..=255 {
            let flipped = |message: &[u8], at: usize| {
                let mut message = message.to_vec();
                message[at] ^= flip;
                message
            };
            for at in 0..client.message().len() {
                assert!(server.clone().client_final(&flipped(client.message(), at)).is_err());
            }
            for at in 0..last.message().len() {
                assert!(client.clone().server_final(&flipped(last.message(), at)).is_err());
            }
        }
    }
}

fn is_invalid(error: &ScramError) -> bool {
    error.to_string().starts_with("invalid ")
}

#[test]
fn iterations_out_of_bounds_are_refused_before_anything_is_hashed() {
    let answer = |iterations: &str| {
        let message = format!("r={NONCE}x,s=MTIz,i={iterations}");
        client(Mechanism::Sha512).server_first(message.as_bytes()).map(|_| ()).unwrap_err()
    };
    let out_of_bounds =
        |iterations| ScramError::new(format!("{iterations} iterations are not within 4096..=1000000"));
    for iterations in [1, 4095, 1_000_001, u32::MAX] {
        assert_eq!(answer(&iterations.to_string()), out_of_bounds(iterations));
        let stored = StoredCredential::new(Mechanism::Sha256, "", SALT, iterations);
        assert_eq!(stored.map(|_| ()).unwrap_err(), out_of_bounds(iterations));
    }
    for malformed in ["", "0", "-1", "+4096", "04096", "4294967296", "4096 "] {
        assert!(is_invalid(&answer(malformed)), "{malformed}");
    }
}

#[test]
fn a_server_adds_to_the_clients_nonce() {
    for nonce in [NONCE, &NONCE[1..], "x"] {
        let message = format!("r={nonce},s=MTIz,i=4096");
        let outcome = client(Mechanism::Sha256).server_first(message.as_bytes()).map(|_| ());
        assert_eq!(outcome, Err(ScramError::new(message::OTHER_NONCE)), "{nonce}");
    }
}

#[test]
fn an_empty_salt_is_refused() {
    let message = format!("r={NONCE}x,s=,i=4096");
    let error = client(Mechanism::Sha256).server_first(message.as_bytes()).map(|_| ()).unwrap_err();
    assert!(is_invalid(&error), "{error}");
    let stored = StoredCredential::new(Mechanism::Sha256, PASSWORD, b"", 4096);
    assert_eq!(stored.map(|_| ()).unwrap_err(), ScramError::new("the salt is empty"));
}

#[test]
fn extensions_are_ignored_unless_they_are_malformed() {
    let answer = |extensions: &str| {
        let message = format!("r={NONCE}x,s=MTIz,i=4096{extensions}");
        client(Mechanism::Sha256).server_first(message.as_bytes()).is_ok()
    };
    assert!(answer(",a=1,tokenauth=x=y"));
    for malformed in [",", ",a", ",a=", ",=1", ",1=2", ",a=1,", ",a=\0"] {
        assert!(!answer(malformed), "{malformed}");
    }
}

/// A client that knows the password proves what it sends; the server still takes only its own exchange.
#[test]
fn a_right_proof_of_another_header_or_nonce_is_refused() {
    let mechanism = Mechanism::Sha256;
    let client = client(mechanism);
    let bare = std::str::from_utf8(client.message()).unwrap().strip_prefix("n,,").unwrap();
    let salted_password = keys::salted_password(mechanism, PASSWORD, SALT, 4096).unwrap();
    let client_key = keys::client_key(mechanism, &salted_password);
    let stored_key = keys::stored_key(mechanism, &client_key);
    let (server, _) = last_states(mechanism);
    let server_first = std::str::from_utf8(server.message()).unwrap();
    let outcome = |binding: &str, nonce: &str| {
        let without_proof = format!("c={},r={nonce}", message::encode_base64(binding.as_bytes()));
        let auth_message = format!("{bare},{server_first},{without_proof}");
        let signature = keys::signature(mechanism, &stored_key, &auth_message);
        let proof = message::encode_base64(&keys::xor(&client_key, &signature).unwrap());
        server.clone().client_final(format!("{without_proof},p={proof}").as_bytes()).map(|_| ())
    };
    let nonce = format!("{NONCE}{SERVER_NONCE}");
    assert_eq!(outcome("n,,", &nonce), Ok(()));
    assert_eq!(outcome("y,,", &nonce), Err(ScramError::new(OTHER_HEADER)));
    assert_eq!(outcome("n,,", NONCE), Err(ScramError::new(message::OTHER_NONCE)));
    assert_eq!(outcome("n,,", &format!("{nonce}x")), Err(ScramError::new(message::OTHER_NONCE)));
}

#[test]
fn the_server_takes_only_what_kafka_has() {
    let error = |message: &str| ServerStart::new(message.as_bytes()).map(|_| ()).unwrap_err();
    for other in ["p=tls-unique,,n=user,r=abc", "n,a=admin,n=user,r=abc", "n,x,n=a,r=a", "n", ""] {
        assert_eq!(error(other), ScramError::new(OTHER_HEADER), "{other}");
    }
    for malformed in ["n,,", "n,,n=,r=a", "n,,n=a=b,r=a", "n,,r=a,n=a", "n,,m=x,n=a,r=a"] {
        assert!(is_invalid(&error(malformed)), "{malformed}");
    }
    let server = ServerStart::new(b"n,,n=us=2Cer,r=abc,tokenauth=TRUE,other=1").unwrap();
    assert_eq!((server.username(), server.is_delegation_token()), ("us,er", true));
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    let refused = |reason: &str| Err(ScramError::new(format!("the server refused: {reason}")));
    let (_, last) = last_states(Mechanism::Sha256);
    assert_eq!(last.clone().server_final(b"e=invalid-proof"), refused("invalid-proof"));
    assert_eq!(last.clone().server_final(b"e=other\n-error,x=y"), refused("other-error"));
    let outcome = client(Mechanism::Sha256).server_first(b"e=unknown-user").map(|_| ());
    assert_eq!(outcome, refused("unknown-user"));
}

#[test]
fn names_and_nonces_that_cannot_be_sent_are_refused() {
    let new = |name: &str, nonce| {
        ClientFirst::new(Mechanism::Sha256, &Credentials::new(name, ""), nonce).map(|_| ()).unwrap_err()
    };
    assert_eq!(new("", NONCE), ScramError::new("the user name is empty or has a NUL"));
    assert_eq!(new("a\0b", NONCE), ScramError::new("the user name is empty or has a NUL"));
    for nonce in ["", "a,b", "a b", "ä"] {
        assert_eq!(new("alice", nonce), ScramError::new(message::INVALID_NONCE));
    }
}

#[test]
fn nothing_secret_is_shown() {
    let (first, last) = last_states(Mechanism::Sha256);
    let end = first.clone().client_final(last.message()).unwrap();
    let credentials = Credentials::new("alice", PASSWORD);
    let client = client(Mechanism::Sha256);
    let stored = stored(Mechanism::Sha256);
    let shown = format!("{credentials:?} {client:?} {first:?} {last:?} {end:?} {stored:?}");
    for secret in [PASSWORD, proof(last.message(), "p="), proof(end.message(), "v=")] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(!shown.contains('['), "bytes in {shown}");
}

fn proof<'a>(message: &'a [u8], name: &str) -> &'a str {
    std::str::from_utf8(message).unwrap().rsplit_once(name).unwrap().1
}

#[test]
fn the_keys_are_those_of_golden() {
    let hex = |key: &keys::Key| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut checked = 0;
    for vector in crate::golden::lines("scram.jsonl") {
        let mechanism = Mechanism::from_name(vector["mechanism"].as_str().unwrap());
        let (Some(mechanism), Some(salted)) = (mechanism, vector["salted_password_hex"].as_str()) else {
            continue;
        };
        let salt = message::decode_base64("golden", vector["salt_b64"].as_str().unwrap()).unwrap();
        let iterations = u32::try_from(vector["iterations"].as_u64().unwrap()).unwrap();
        let password = vector["password"].as_str().unwrap();
        let salted_password = keys::salted_password(mechanism, password, &salt, iterations).unwrap();
        let client_key = keys::client_key(mechanism, &salted_password);
        assert_eq!(hex(&salted_password), salted);
        assert_eq!(hex(&client_key), vector["client_key_hex"]);
        assert_eq!(hex(&keys::stored_key(mechanism, &client_key)), vector["stored_key_hex"]);
        assert_eq!(hex(&keys::server_key(mechanism, &salted_password)), vector["server_key_hex"]);
        checked += 1;
    }
    assert!(checked > 0, "no keys in scram.jsonl");
}
