//! Words for a shell.

/// Returns `word` in quotes for a POSIX shell, as git's `sq_quote_buf` writes it: csh wants `!` outside of them.
#[must_use]
pub fn shell_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''").replace('!', "'\\!'"))
}

/// Returns `word` as [`shell_quoted`] does, or as it is where a shell takes it without quotes.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+%=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        shell_quoted(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_word_as_that_word() {
        assert_eq!(shell_quoted("/g/p.git"), "'/g/p.git'");
        assert_eq!(shell_quoted("~u/p"), "'~u/p'");
        assert_eq!(shell_quoted("a'b!c $(d)"), "'a'\\''b'\\!'c $(d)'");
        assert_eq!(shell_word("g/p"), "g/p");
        assert_eq!(shell_word("g p"), "'g p'");
        assert_eq!(shell_word(""), "''");
    }
}
