//! The keys that follow from a password (RFC 5802, section 3).
//!
//! Invariant: a key is wiped when dropped, is never shown, and is compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{ITERATIONS, Mechanism, ScramError, Secret};

/// A key, proof or signature.
pub(super) type Key = Secret<Vec<u8>>;

/// Whether the bytes are the same. Only a difference in length shows in the time it takes.
pub(super) fn equals(key: &Key, other: &[u8]) -> bool {
    key.ct_eq(other).into()
}

/// Both, bit by bit; `None` if they differ in length.
pub(super) fn xor(key: &Key, other: &[u8]) -> Option<Key> {
    let bytes = key.iter().zip(other).map(|(a, b)| a ^ b).collect::<Vec<u8>>();
    (key.len() == other.len()).then(|| Key::new(bytes))
}

/// `SaltedPassword`, the only slow step.
pub(super) fn salted_password(
    mechanism: Mechanism,
    password: &str,
    salt: &[u8],
    iterations: u32,
) -> Result<Key, ScramError> {
    if !ITERATIONS.contains(&iterations) {
        return Err(ScramError::new(format!("{iterations} iterations are not within {ITERATIONS:?}")));
    }
    let password = password.as_bytes();
    Ok(match mechanism {
        Mechanism::Sha256 => Key::new(
            Zeroizing::new(pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations)).as_slice(),
        ),
        Mechanism::Sha512 => Key::new(
            Zeroizing::new(pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, iterations)).as_slice(),
        ),
    })
}

/// `ClientKey`.
pub(super) fn client_key(mechanism: Mechanism, salted_password: &Key) -> Key {
    signature(mechanism, salted_password, "Client Key")
}

/// `StoredKey`.
pub(super) fn stored_key(mechanism: Mechanism, client_key: &Key) -> Key {
    match mechanism {
        Mechanism::Sha256 => Key::new(Sha256::digest(&**client_key).as_slice()),
        Mechanism::Sha512 => Key::new(Sha512::digest(&**client_key).as_slice()),
    }
}

/// `ServerKey`.
pub(super) fn server_key(mechanism: Mechanism, salted_password: &Key) -> Key {
    signature(mechanism, salted_password, "Server Key")
}

/// `ClientSignature` and `ServerSignature`, by the stored key and the server key.
pub(super) fn signature(mechanism: Mechanism, key: &Key, text: &str) -> Key {
    match mechanism {
        Mechanism::Sha256 => authentication_code::<Hmac<Sha256>>(key, text),
        Mechanism::Sha512 => authentication_code::<Hmac<Sha512>>(key, text),
    }
}

fn authentication_code<M: Mac + KeyInit>(key: &Key, text: &str) -> Key {
    // HMAC hashes a key that is longer than its block.
    let code = <M as KeyInit>::new_from_slice(key).expect("a key of any length");
    Key::new(code.chain_update(text).finalize().into_bytes().as_slice())
}
