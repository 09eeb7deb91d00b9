//! How text is written for people, for a shell and into files.

mod invisible;
mod mask;
mod quote;
mod size;
mod time;

use std::io;

pub(crate) use invisible::is_invisible;
pub use mask::masked;
pub use quote::{shell_quoted, shell_word};
pub use size::byte_size;
pub use time::{time_span, unix_seconds};

/// Returns the message of a system's error in git's voice: without the `(os error 2)` that Rust appends.
#[must_use]
pub fn io_message(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
