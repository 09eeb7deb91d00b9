//! Writes a child of git as a command line, for a git that starts programs of its own by a shell.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    process::Command,
};

/// Returns the command line by which a shell runs a fenced child: with its arguments, and with its environment only.
#[must_use]
pub fn command_line(fenced: &Command) -> OsString {
    let mut line = b"env -i".to_vec();
    for (name, value) in fenced.get_envs() {
        if let Some(value) = value {
            let pair = [name.as_bytes(), b"=", value.as_bytes()].concat();
            push_quoted(&mut line, OsStr::from_bytes(&pair));
        }
    }
    push_quoted(&mut line, fenced.get_program());
    for arg in fenced.get_args() {
        push_quoted(&mut line, arg);
    }
    OsString::from_vec(line)
}

/// Adds a blank and one word, in single quotes as git's `sq_quote_buf` writes them.
fn push_quoted(line: &mut Vec<u8>, word: &OsStr) {
    line.extend_from_slice(b" '");
    for byte in word.as_bytes() {
        match byte {
            b'\'' => line.extend_from_slice(br"'\''"),
            _ => line.push(*byte),
        }
    }
    line.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_runs_a_child_with_its_arguments_and_its_environment_only() {
        let mut printer = Command::new("/bin/sh");
        printer
            .args([
                "-c",
                r#"printf '%s|' "$@"; env"#,
                "it's",
                "a b",
                "$HOME",
                "",
            ])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("QUOTED", "'\"$(false)");
        let output = Command::new("/bin/sh")
            .arg("-c")
            .arg(command_line(&printer))
            .env("LEAKED", "1")
            .output()
            .expect("a shell");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.starts_with("a b|$HOME||"), "{printed}");
        assert!(printed.contains("QUOTED='\"$(false)\n"), "{printed}");
        assert!(!printed.contains("LEAKED"), "{printed}");
    }
}
