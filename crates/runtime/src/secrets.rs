//! Key pairs for ssh between the pods of a job, in the form that mpi-operator 0.8 gives them
//! (`pkg/controller/mpi_job_controller.go`, `newSSHAuthSecret`): ECDSA on P-521.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p521::SecretKey;
use p521::elliptic_curve::Generate;
use p521::elliptic_curve::sec1::ToSec1Point;
use p521::elliptic_curve::zeroize::Zeroizing;
use p521::pkcs8::LineEnding;

/// Name of the key type, as ssh writes it.
const KEY_TYPE: &str = "ecdsa-sha2-nistp521";
/// Name of the curve in it.
const CURVE: &str = "nistp521";

/// A key pair. The private half is never logged: it is sent to the API server only, and wiped when it is dropped.
pub(crate) struct KeyPair {
    private: Zeroizing<String>,
    public: String,
}

impl KeyPair {
    /// PEM, `EC PRIVATE KEY` (SEC1).
    pub(crate) fn private(&self) -> &str {
        &self.private
    }

    /// One line of `authorized_keys`, without comment.
    pub(crate) fn public(&self) -> &str {
        &self.public
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Error of making a key pair.
#[derive(Debug, thiserror::Error)]
#[error("the key cannot be written: {0}")]
pub(crate) struct KeyError(String);

/// Makes a key pair from the system's randomness.
///
/// # Errors
/// If the key cannot be encoded.
pub(crate) fn key_pair() -> Result<KeyPair, KeyError> {
    let key = SecretKey::try_generate().map_err(|error| KeyError(error.to_string()))?;
    let private = key
        .to_sec1_pem(LineEnding::LF)
        .map_err(|error| KeyError(error.to_string()))?;
    let point = key.public_key().to_sec1_point(false);
    let mut blob = Vec::new();
    for part in [KEY_TYPE.as_bytes(), CURVE.as_bytes(), point.as_bytes()] {
        let length = u32::try_from(part.len()).map_err(|error| KeyError(error.to_string()))?;
        blob.extend(length.to_be_bytes());
        blob.extend(part);
    }
    Ok(KeyPair {
        private,
        public: format!("{KEY_TYPE} {}\n", STANDARD.encode(blob)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Size of the point at the end of the public half: one byte for "uncompressed" and two coordinates of 66 bytes.
    const POINT: usize = 133;

    #[test]
    fn the_public_half_is_that_of_the_private_one_and_no_two_pairs_are_alike() {
        let pair = key_pair().unwrap();
        let key = SecretKey::from_sec1_pem(pair.private()).unwrap();
        let (kind, encoded) = pair.public().trim_end().split_once(' ').unwrap();
        let blob = STANDARD.decode(encoded).unwrap();
        assert_eq!(kind, KEY_TYPE);
        assert_eq!(
            &blob[blob.len() - POINT..],
            key.public_key().to_sec1_point(false).as_bytes()
        );
        assert_eq!(&blob[4..23], KEY_TYPE.as_bytes());
        assert_ne!(key_pair().unwrap().private(), pair.private());
    }

    #[test]
    fn the_private_half_is_not_in_debug_output() {
        let pair = key_pair().unwrap();
        assert!(pair.private().starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
        let shown = format!("{pair:?}");
        assert!(shown.contains(KEY_TYPE) && !shown.contains("PRIVATE"));
    }
}
