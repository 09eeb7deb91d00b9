//! Amounts of bytes.

/// Returns an amount of bytes as git's progress writes it (`strbuf_humanise_bytes`).
#[must_use]
pub fn byte_size(bytes: f64) -> String {
    for (unit, name) in [
        (1024.0 * 1024.0 * 1024.0, "GiB"),
        (1024.0 * 1024.0, "MiB"),
        (1024.0, "KiB"),
    ] {
        if bytes > unit {
            return format!("{:.2} {name}", bytes / unit);
        }
    }
    format!("{bytes:.0} bytes")
}
