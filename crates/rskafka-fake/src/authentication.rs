//! Who the client of a connection is, and which requests are served before it has logged in.
//!
//! Invariant: on a listener with SASL no request is served for a client that has not authenticated or whose
//! session is over. The exception is ApiVersions before the login, until it was answered in full.

use std::time::Duration;

use rskafka_protocol::messages::sasl_authenticate::SaslAuthenticateResponse;
use rskafka_protocol::messages::sasl_handshake::SaslHandshakeResponse;
use rskafka_protocol::{ApiKey, ErrorCode};

use crate::clock::Now;

/// The state of one connection. Without a listener with SASL there is nothing to know.
#[derive(Debug, Default)]
pub(crate) struct Authentication {
    #[cfg(feature = "sasl")]
    session: Option<session::Session>,
}

/// An answer, and after how long the connection then ends, if it does.
pub(crate) type Answer<M> = (M, Option<Duration>);

impl Authentication {
    #[cfg(feature = "sasl")]
    pub(crate) fn required(sasl: std::sync::Arc<crate::sasl::Sasl>) -> Self {
        Self { session: Some(session::Session::new(sasl)) }
    }

    /// Whether a request is served at all; if not, the connection ends.
    pub(crate) fn admits(&mut self, api_key: ApiKey, is_spoken: bool, now: Now) -> bool {
        #[cfg(feature = "sasl")]
        if let Some(session) = &mut self.session {
            return session.admits(api_key, is_spoken, now);
        }
        let _ = (api_key, is_spoken, now);
        true
    }

    /// Whether the client has yet to log in.
    pub(crate) fn is_login(&self) -> bool {
        #[cfg(feature = "sasl")]
        return self.session.as_ref().is_some_and(|session| session.principal.is_none());
        #[cfg(not(feature = "sasl"))]
        return false;
    }

    pub(crate) fn handshake(&mut self, mechanism: &str, now: Now) -> Answer<SaslHandshakeResponse> {
        #[cfg(feature = "sasl")]
        if let Some(session) = &mut self.session {
            return session.handshake(mechanism, now);
        }
        let _ = (mechanism, now);
        let error_code = ErrorCode::ILLEGAL_SASL_STATE;
        (SaslHandshakeResponse { error_code, ..Default::default() }, None)
    }

    /// `nonce` must be new.
    pub(crate) fn authenticate(
        &mut self,
        message: &[u8],
        nonce: &str,
        now: Now,
    ) -> Answer<SaslAuthenticateResponse> {
        #[cfg(feature = "sasl")]
        if let Some(session) = &mut self.session {
            return session.authenticate(message, nonce, now);
        }
        let _ = (message, nonce, now);
        not_expected()
    }
}

fn refused(error_code: ErrorCode, why: &str) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse { error_code, error_message: Some(why.to_owned()), ..Default::default() }
}

fn not_expected() -> Answer<SaslAuthenticateResponse> {
    let why = "SaslAuthenticate request received after successful authentication";
    (refused(ErrorCode::ILLEGAL_SASL_STATE, why), None)
}

#[cfg(feature = "sasl")]
mod session {
    //! Kafka class `SaslServerAuthenticator`.

    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::sasl::{Login, Progress, Sasl, SaslMechanism};

    /// A client may authenticate again this long after it last did so (Kafka class `KafkaChannel`).
    const MIN_REAUTHENTICATION: Duration = Duration::from_secs(1);

    #[derive(Debug)]
    pub(super) struct Session {
        sasl: Arc<Sasl>,
        stage: Stage,
        /// Who authenticated last.
        pub(super) principal: Option<(SaslMechanism, String)>,
        expires: Option<Instant>,
        reauthenticated: Option<Instant>,
    }

    #[derive(Debug)]
    enum Stage {
        /// ApiVersions or SaslHandshake.
        Start,
        /// SaslHandshake.
        Versions,
        /// SaslAuthenticate.
        Exchange(SaslMechanism, Login),
        /// Anything, until the session is over.
        Authenticated,
        /// Nothing more.
        Failed,
    }

    impl Session {
        pub(super) fn new(sasl: Arc<Sasl>) -> Self {
            let (stage, principal) = (Stage::Start, None);
            Self { sasl, stage, principal, expires: None, reauthenticated: None }
        }

        pub(super) fn admits(&mut self, api_key: ApiKey, is_spoken: bool, now: Now) -> bool {
            match self.stage {
                Stage::Start if api_key == ApiKey::API_VERSIONS => {
                    // In a version that is too new it is refused, and may be asked again.
                    if is_spoken {
                        self.stage = Stage::Versions;
                    }
                    true
                }
                Stage::Start | Stage::Versions => api_key == ApiKey::SASL_HANDSHAKE,
                Stage::Exchange(..) => api_key == ApiKey::SASL_AUTHENTICATE,
                Stage::Authenticated => {
                    let is_over = self.expires.is_some_and(|expires| now.instant >= expires);
                    !is_over || (api_key == ApiKey::SASL_HANDSHAKE && self.may_reauthenticate(now))
                }
                Stage::Failed => false,
            }
        }

        fn may_reauthenticate(&self, now: Now) -> bool {
            self.reauthenticated.is_none_or(|last| now.instant >= last + MIN_REAUTHENTICATION)
        }

        pub(super) fn handshake(&mut self, mechanism: &str, now: Now) -> Answer<SaslHandshakeResponse> {
            let mut response = SaslHandshakeResponse::default();
            if matches!(self.stage, Stage::Authenticated) {
                if !self.may_reauthenticate(now) {
                    response.error_code = ErrorCode::ILLEGAL_SASL_STATE;
                    return (response, None);
                }
                self.reauthenticated = Some(now.instant);
            }
            let names = self.sasl.settings.mechanisms.iter().map(|mechanism| mechanism.name().to_owned());
            response.mechanisms = names.collect();
            let known = SaslMechanism::from_name(mechanism);
            let Some(mechanism) = known.filter(|mechanism| self.sasl.settings.mechanisms.contains(mechanism))
            else {
                self.stage = Stage::Failed;
                response.error_code = ErrorCode::UNSUPPORTED_SASL_MECHANISM;
                return (response, Some(Duration::ZERO));
            };
            self.stage = Stage::Exchange(mechanism, Login::Begun(mechanism));
            (response, None)
        }

        pub(super) fn authenticate(
            &mut self,
            message: &[u8],
            nonce: &str,
            now: Now,
        ) -> Answer<SaslAuthenticateResponse> {
            let (mechanism, login) = match std::mem::replace(&mut self.stage, Stage::Failed) {
                Stage::Exchange(mechanism, login) => (mechanism, login),
                stage => {
                    self.stage = stage;
                    return not_expected();
                }
            };
            match login.take(message, &self.sasl, nonce) {
                Progress::Challenge(message, login) => {
                    self.stage = Stage::Exchange(mechanism, login);
                    let auth_bytes = message.into();
                    (SaslAuthenticateResponse { error_message: None, auth_bytes, ..Default::default() }, None)
                }
                Progress::Refused(why) => self.refuse(&why),
                Progress::Accepted { principal, lifetime, message } => {
                    if let Some(why) = self.change_of(mechanism, &principal) {
                        return self.refuse(&why);
                    }
                    self.stage = Stage::Authenticated;
                    self.principal = Some((mechanism, principal));
                    let lifetime =
                        [lifetime, self.sasl.settings.session_lifetime].into_iter().flatten().min();
                    self.expires = lifetime.and_then(|lifetime| now.instant.checked_add(lifetime));
                    let lifetime_ms = lifetime.unwrap_or_default().as_millis();
                    let response = SaslAuthenticateResponse {
                        error_message: None,
                        auth_bytes: message.into(),
                        session_lifetime_ms: i64::try_from(lifetime_ms).unwrap_or(i64::MAX),
                        ..Default::default()
                    };
                    (response, None)
                }
            }
        }

        fn refuse(&mut self, why: &str) -> Answer<SaslAuthenticateResponse> {
            self.stage = Stage::Failed;
            (refused(ErrorCode::SASL_AUTHENTICATION_FAILED, why), Some(self.sasl.settings.failure_delay))
        }

        /// Why a client that has authenticated before may not authenticate again as this user.
        fn change_of(&self, mechanism: SaslMechanism, principal: &str) -> Option<String> {
            let (before, user) = self.principal.as_ref()?;
            if before != &mechanism {
                return Some(format!(
                    "SASL mechanism cannot change during re-authentication from {} to {}",
                    before.name(),
                    mechanism.name()
                ));
            }
            (user != principal).then(|| {
                format!(
                    "Cannot change principals during re-authentication from User.{user}: User.{principal}"
                )
            })
        }
    }
}
