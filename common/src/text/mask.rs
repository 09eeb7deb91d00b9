//! Text of others, made safe for a terminal.

/// Returns text of others with its control characters shown, so that a terminal does not obey them.
#[must_use]
pub fn masked(text: &[u8]) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '\t' => shown.push(c),
            '\0'..='\x1f' => shown.extend(['^', char::from(c as u8 + 0x40)]),
            '\x7f'..='\u{9f}' => shown.push('?'),
            _ => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let all: Vec<u8> = (0..=255)
            .filter(|byte| ![b'\n', b'\r'].contains(byte))
            .collect();
        let safe = |text: &str| !text.chars().any(|c| c.is_control() && c != '\t');
        assert!(safe(&masked(&all)) && safe(&masked("\u{9b}31m".as_bytes())));
    }
}
