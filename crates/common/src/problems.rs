//! Mistakes in a job, each with the path of its field.

use std::fmt;

/// One mistake in a field of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path, such as `spec.pytorchReplicaSpecs[Worker].replicas`.
    pub field: String,
    /// Description of the mistake and of a correct value.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// All mistakes of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds a mistake.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem {
            field: field.into(),
            message: message.into(),
        });
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// Reads `value` as `T`; a mistake is reported under `path`.
pub fn read<T: serde::de::DeserializeOwned>(
    value: &serde_json::Value,
    path: &str,
    problems: &mut Problems,
) -> Option<T> {
    match serde_path_to_error::deserialize(value) {
        Ok(read) => Some(read),
        Err(error) => {
            let inner = error.path().to_string();
            let field = if inner == "." {
                path.to_owned()
            } else {
                format!("{path}.{inner}")
            };
            problems.add(field, error.into_inner().to_string());
            None
        }
    }
}
