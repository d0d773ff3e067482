//! Reading of small text files: rules and secrets.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Upper limit of the size, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let reading = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    let size = reading.map_err(|error| format!("the file cannot be read: {error}"))?;
    if size as u64 > MAX_BYTES {
        return Err(format!("the file is larger than {MAX_BYTES} bytes"));
    }
    Ok(text)
}
