//! Logs.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text for people.
    Text,
}

/// Error of setting up logs.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("log level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logs were set up before.
    #[error("logs: {0}")]
    Taken(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets up logs to standard error. `filter` is a level, or directives such as `info,runtime=debug`.
///
/// # Errors
/// If the filter cannot be read, or if this was called before.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .finish()
            .try_init(),
        LogFormat::Text => lines.with_ansi(false).finish().try_init(),
    }?;
    Ok(())
}
