//! Signs of life of long steps: a spinner on a terminal, a line every 20 s in logs.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const LINE_EVERY: Duration = Duration::from_secs(20);

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A spinner on stderr.
    Spinner,
    /// Plain lines on stderr.
    Lines,
    /// Nowhere.
    Silent,
}

impl Default for Progress {
    /// A spinner on a terminal, else lines.
    fn default() -> Self {
        let ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
        if std::io::stderr().is_terminal() && !ci {
            Self::Spinner
        } else {
            Self::Lines
        }
    }
}

impl Progress {
    /// Begins a step; it ends with [`Step::done`], or silently when dropped (an error follows then).
    #[must_use]
    pub fn step(self, what: &str) -> Step {
        let begun = Instant::now();
        let what = what.to_owned();
        match self {
            Self::Spinner => Step {
                what,
                begun,
                bar: Some(spinner()),
                ticker: None,
                lines: false,
            }
            .shown(),
            Self::Lines => {
                let ticker = Some(Ticker::start(what.clone(), begun));
                Step {
                    what,
                    begun,
                    bar: None,
                    ticker,
                    lines: true,
                }
            }
            Self::Silent => Step {
                what,
                begun,
                bar: None,
                ticker: None,
                lines: false,
            },
        }
    }

    /// Says one line.
    pub fn say(self, line: &str) {
        if self != Self::Silent {
            eprintln!("{line}");
        }
    }
}

/// A running step.
pub struct Step {
    what: String,
    begun: Instant,
    bar: Option<ProgressBar>,
    ticker: Option<Ticker>,
    lines: bool,
}

impl Step {
    /// Shows what the step is at.
    pub fn at(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} ({detail})", self.what));
        }
    }

    /// Ends the step and says how long it took.
    pub fn done(mut self) {
        drop(self.ticker.take());
        let line = format!("{} ({:.1} s)", self.what, self.begun.elapsed().as_secs_f64());
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            eprintln!("{line}");
        } else if self.lines {
            eprintln!("{line}");
        }
    }

    fn shown(self) -> Self {
        if let Some(bar) = &self.bar {
            bar.set_message(self.what.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        self
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A thread that says a line now and then until it is dropped.
struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(what: String, begun: Instant) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(LINE_EVERY) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{what}: {} s so far", begun.elapsed().as_secs());
            }
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
