use proptest::prelude::*;
use rskafka_protocol::scram::{ServerStart, StoredCredential};

use base64::prelude::{BASE64_STANDARD as STANDARD, BASE64_URL_SAFE as URL_SAFE};

use super::*;
use crate::endpoint::Endpoint;
use crate::error::{OpenError, Phase};

const SECRET: &str = "pa55-word-or-token";

fn credentials() -> Credentials {
    Credentials::new("alice", SECRET)
}

fn plain() -> Handshake {
    Handshake::plain(&credentials()).unwrap()
}

fn scram(mechanism: Mechanism) -> Handshake {
    Handshake::scram(mechanism, &credentials(), "a-nonce").unwrap()
}

fn oauth() -> Handshake {
    Handshake::oauth_bearer(&OauthToken::new(SECRET)).unwrap()
}

fn all() -> [Handshake; 4] {
    [plain(), scram(Mechanism::Sha256), scram(Mechanism::Sha512), oauth()]
}

/// The exchange, and what is said first.
#[track_caller]
fn begun(handshake: Handshake) -> (Exchange, Bytes) {
    said(handshake.agreed(SaslHandshakeResponse::default()))
}

fn answer(
    error_code: ErrorCode,
    message: Option<&str>,
    bytes: &[u8],
    lifetime: i64,
) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse {
        error_code,
        error_message: message.map(str::to_owned),
        auth_bytes: Bytes::copy_from_slice(bytes),
        session_lifetime_ms: lifetime,
    }
}

fn accepted(bytes: &[u8]) -> SaslAuthenticateResponse {
    answer(ErrorCode::NONE, None, bytes, 0)
}

#[track_caller]
fn said(action: Result<Action, Failure>) -> (Exchange, Bytes) {
    match action {
        Ok(Action::Authenticate(bytes, exchange)) => (exchange, bytes),
        Ok(_) => panic!("nothing is said"),
        Err(error) => panic!("{error:?}"),
    }
}

#[track_caller]
fn done(action: Result<Action, Failure>) -> Option<Duration> {
    match action {
        Ok(Action::Done(lifetime)) => lifetime,
        Ok(_) => panic!("not done"),
        Err(error) => panic!("{error:?}"),
    }
}

#[track_caller]
fn failed(action: Result<Action, Failure>) -> Failure {
    action.map(|_| ()).unwrap_err()
}

#[test]
fn plain_sends_user_and_password_and_is_done_with_the_answer() {
    assert_eq!(plain().request().mechanism, "PLAIN");
    let (exchange, first) = begun(plain());
    assert_eq!(first, format!("\0alice\0{SECRET}").as_bytes());
    assert_eq!(
        done(exchange.answered(answer(ErrorCode::NONE, None, b"", 5000))),
        Some(Duration::from_secs(5))
    );
    let (exchange, _) = begun(plain());
    assert_eq!(done(exchange.answered(answer(ErrorCode::NONE, None, b"", -1))), None);
}

/// An exchange of SCRAM before the broker's last message, and that.
fn scram_until_final(mechanism: Mechanism) -> (Exchange, Vec<u8>) {
    let stored = StoredCredential::new(mechanism, SECRET, b"salt", 4096).unwrap();
    assert_eq!(scram(mechanism).request().mechanism, mechanism.name());
    let (exchange, first) = begun(scram(mechanism));
    let server = ServerStart::new(&first).unwrap().answer(&stored, "more");
    assert!(exchange.is_about_to_hash());
    let (exchange, last) = said(exchange.answered(accepted(server.message())));
    (exchange, server.client_final(&last).unwrap().message().to_vec())
}

#[test]
fn scram_is_done_once_the_broker_has_proved_itself() {
    for mechanism in Mechanism::ALL {
        let (exchange, server_final) = scram_until_final(mechanism);
        let last = answer(ErrorCode::NONE, None, &server_final, 1);
        assert_eq!(done(exchange.answered(last)), Some(Duration::from_millis(1)));
    }
}

#[test]
fn a_broker_that_does_not_know_the_password_is_refused() {
    for mechanism in Mechanism::ALL {
        let (exchange, mut server_final) = scram_until_final(mechanism);
        server_final[5] ^= 1;
        let error = failed(exchange.answered(accepted(&server_final)));
        assert!(everything_said(error).contains("the server's signature is wrong"));
        let (exchange, _) = scram_until_final(mechanism);
        let error = failed(exchange.answered(accepted(b"")));
        assert_eq!(error.text, format!("{mechanism} failed"));
    }
}

#[test]
fn oauth_bearer_sends_the_token_with_principal_and_extensions() {
    let token = OauthToken::new("t.o-k_e~n+/=").principal("a,b=c").extension("cluster", "lkc 1");
    let handshake = Handshake::oauth_bearer(&token).unwrap();
    assert_eq!(handshake.request().mechanism, "OAUTHBEARER");
    let (exchange, sent) = begun(handshake);
    assert_eq!(sent, "n,a=a=2Cb=3Dc,\x01auth=Bearer t.o-k_e~n+/=\x01cluster=lkc 1\x01\x01".as_bytes());
    assert_eq!(
        done(exchange.answered(answer(ErrorCode::NONE, None, b"", 60_000))),
        Some(Duration::from_secs(60))
    );
    assert_eq!(begun(oauth()).1, format!("n,,\x01auth=Bearer {SECRET}\x01\x01").as_bytes());
}

#[test]
fn debug_shows_neither_a_token_nor_its_extensions() {
    let token = OauthToken::new(SECRET).principal("alice").extension("ticket", "also-secret");
    let shown = format!("{token:?} {token:#?}");
    assert!(shown.contains("alice") && !shown.contains(SECRET) && !shown.contains("also-secret"), "{shown}");
}

#[test]
fn a_refused_token_is_acknowledged_and_its_reason_told() {
    let json = br#"{"status":"invalid_token"}"#;
    for (error_code, message) in [
        (ErrorCode::SASL_AUTHENTICATION_FAILED, Some(r#"{"status":"invalid_token"}"#)),
        (ErrorCode::NONE, None),
    ] {
        let (exchange, _) = begun(oauth());
        // Error 0, but not accepted.
        let (exchange, last) = said(exchange.answered(accepted(json)));
        assert_eq!(last, &b"\x01"[..]);
        let error = failed(exchange.answered(answer(error_code, message, b"", 0)));
        assert!(error.text.contains(r#"(SASL_AUTHENTICATION_FAILED (58): {"status":"invalid_token"})"#));
    }
}

#[test]
fn a_refusal_says_what_the_broker_says_but_never_the_secret() {
    for (message, shown) in [
        (Some("Authentication failed: Invalid username or password"), "Invalid username or password"),
        (Some("no user alice with pa55-word-or-token here"), "repeats the secret and is not shown"),
        (Some("line\nbreak\x1b[31m"), "linebreak[31m"),
        (None, "(SASL_AUTHENTICATION_FAILED (58)): check user and password"),
    ] {
        for handshake in [plain(), oauth()] {
            let (exchange, _) = begun(handshake);
            let error =
                failed(exchange.answered(answer(ErrorCode::SASL_AUTHENTICATION_FAILED, message, b"", 0)));
            assert_eq!(error.nature, Nature::Authentication);
            let said = everything_said(error);
            assert!(said.contains(shown) && !said.contains(SECRET), "{said}");
        }
    }
}

/// Debug of the failure, and the message of the error that the caller gets, with all causes.
fn everything_said(failure: Failure) -> String {
    let debug = format!("{failure:?} {failure:#?}");
    let error = OpenError::new(&Endpoint::new("broker", 9092), Phase::Sasl, failure);
    let mut text = format!("{debug} {error:?} {error:#?} {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text += &format!(" {error:?} {error}");
        cause = error.source();
    }
    text
}

#[test]
fn a_token_in_the_reason_of_its_refusal_is_not_shown() {
    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9/c2lnbmF0dXJl+Zm9y=";
    for (reason, secret_part) in [
        (format!(r#"{{"status":"invalid_token","token":"{TOKEN}"}}"#), "c2lnbmF0dXJl"),
        // As some encoders of JSON escape it.
        (format!(r#"{{"token":"{}"}}"#, TOKEN.replace('/', r"\/").replace('=', r"\u003d")), "c2lnbmF0dXJl"),
        // Cut short.
        (format!(r#"{{"token":"{}…"}}"#, &TOKEN[..40]), "eyJhbGciOiJSUzI1"),
        // In base64, by itself and behind other bytes, with either alphabet, and cut short.
        (format!("denied: {}", STANDARD.encode(TOKEN)), "ZXlKaGJHY2lP"),
        (format!("denied: {}", URL_SAFE.encode(format!("n{TOKEN}"))), "leUpoYkdjaU"),
        (format!("denied: {}", STANDARD.encode(format!("n,{TOKEN}\x01"))), "ZXlKaGJHY2l"),
        (format!("denied: {}", &STANDARD.encode(format!("n,,\x01auth=Bearer {TOKEN}"))[..60]), "XlKaGJHY2l"),
        // At the end of what is shown of a long reason.
        (format!("{}{TOKEN}", "x".repeat(MAX_SHOWN - 20)), "eyJhbGciOiJSUzI1"),
        // With characters in between that are not shown.
        (TOKEN.replace('.', ".\x01"), "eyJhbGciOiJSUzI1NiJ9.eyJzdWIi"),
    ] {
        let (exchange, _) = begun(Handshake::oauth_bearer(&OauthToken::new(TOKEN)).unwrap());
        let (exchange, _) = said(exchange.answered(accepted(reason.as_bytes())));
        let error = failed(exchange.answered(accepted(b"")));
        let text = everything_said(error);
        assert!(text.contains("repeats the secret and is not shown"), "{text}");
        assert!(!text.contains(secret_part), "{text}");
    }
}

#[test]
fn a_refused_mechanism_comes_with_the_brokers_list() {
    let refused = |error_code, mechanisms: &[&str]| {
        let mechanisms = mechanisms.iter().map(|name| (*name).to_owned()).collect();
        plain().agreed(SaslHandshakeResponse { error_code, mechanisms }).map(|_| ()).unwrap_err()
    };
    let error = refused(ErrorCode::UNSUPPORTED_SASL_MECHANISM, &["SCRAM-SHA-512", "OAUTHBEARER"]);
    assert!(error.text.contains("does not offer PLAIN, but SCRAM-SHA-512, OAUTHBEARER: choose"));
    let error = refused(ErrorCode::UNSUPPORTED_SASL_MECHANISM, &[]);
    assert!(error.text.contains("does not offer PLAIN, but none"), "{error:?}");
    let long = "x".repeat(400);
    let error = refused(ErrorCode::UNSUPPORTED_SASL_MECHANISM, &[long.as_str(); 100]);
    assert!(error.text.len() < MAX_SHOWN + 200, "{error:?}");
    assert!(refused(ErrorCode::ILLEGAL_SASL_STATE, &[]).text.contains("does not expect SASL"));
    assert!(
        refused(ErrorCode::INVALID_REQUEST, &[]).text.contains("refuses the credentials (INVALID_REQUEST")
    );
    assert_eq!(refused(ErrorCode::REQUEST_TIMED_OUT, &[]).nature, Nature::Transient);
}

#[test]
fn credentials_that_cannot_be_sent_are_refused_before_anything_is_said() {
    let plain = |user: &str, password: &str| Handshake::plain(&Credentials::new(user, password));
    assert!(plain("", "b").is_err() && plain("a", "").is_err());
    assert!(plain("a\0", "b").is_err() && plain("a", "b\0").is_err());
    assert!(Handshake::scram(Mechanism::Sha256, &Credentials::new("", "b"), "nonce").is_err());
    for token in [
        OauthToken::new(""),
        OauthToken::new("a b"),
        OauthToken::new("a\x01"),
        OauthToken::new("é"),
        OauthToken::new("t").principal(""),
        OauthToken::new("t").principal("a\x01b"),
        OauthToken::new("t").extension("auth", "v"),
        OauthToken::new("t").extension("", "v"),
        OauthToken::new("t").extension("a1", "v"),
        OauthToken::new("t").extension("a", "v\x01"),
        OauthToken::new("t").extension("a", ""),
    ] {
        assert!(Handshake::oauth_bearer(&token).is_err(), "{token:?}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Accept(i16, Vec<u8>),
    /// The right answer of a broker that does not know the password.
    ServerFirst,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let code = prop_oneof![4 => Just(0), 1 => Just(58), 1 => any::<i16>()];
    let bytes = prop_oneof![2 => Just(Vec::new()), 1 => Just(b"v=AAAA".to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..40)];
    let step = prop_oneof![
        3 => (code, bytes).prop_map(|(code, bytes)| Step::Accept(code, bytes)),
        2 => Just(Step::ServerFirst),
    ];
    prop::collection::vec(step, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes in whatever order: nobody is taken for authenticated without the steps that the mechanism asks for. No
    /// answer can be given to an exchange that is over, by its type.
    #[test]
    fn no_order_of_answers_gets_past_the_exchange(steps in steps(), which in 0..4usize) {
        let (mut exchange, _) = begun(all().into_iter().nth(which).unwrap());
        let is_scram = (1..3).contains(&which);
        let mut spoken = 1;
        for step in steps {
            let answer = match step {
                Step::Accept(code, bytes) => answer(ErrorCode(code), None, &bytes, 0),
                Step::ServerFirst => accepted(b"r=a-nonce-more,s=c2FsdA==,i=4096"),
            };
            let was_accepted = answer.error_code == ErrorCode::NONE;
            exchange = match exchange.answered(answer) {
                Ok(Action::Authenticate(_, exchange)) => exchange,
                Ok(Action::Done(_)) => {
                    // A broker without the password cannot give SCRAM's signature.
                    prop_assert!(!is_scram && spoken == 1 && was_accepted);
                    break;
                }
                Err(error) => {
                    prop_assert!(!everything_said(error).contains(SECRET));
                    break;
                }
            };
            spoken += 1;
            prop_assert!(spoken <= 2, "an exchange is short");
        }
    }
}
