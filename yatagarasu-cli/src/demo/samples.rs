//! The sample objects of the demo.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// The key of the small sample for the printed commands.
pub(super) const SMALL: &str = "hello.txt";

/// The key of the large sample for the printed commands.
pub(super) const LARGE: &str = "large.bin";

/// The size of the large sample, in bytes.
const LARGE_BYTES: u64 = 256_000_000;

/// Size of one write, in bytes.
const BLOCK_BYTES: usize = 1024 * 1024;

/// The initial state of the pseudo-random generator. It must not be 0.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

const TEXTS: [(&str, &str); 6] = [
    (SMALL, include_str!("samples/hello.txt")),
    ("index.html", include_str!("samples/index.html")),
    ("css/site.css", include_str!("samples/css/site.css")),
    ("data/table.json", include_str!("samples/data/table.json")),
    ("images/logo.svg", include_str!("samples/images/logo.svg")),
    ("notes/read me.txt", include_str!("samples/notes/read-me.txt")),
];

/// Writes the sample objects into the empty folder `folder`.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    for (key, text) in TEXTS {
        let file = folder.join(key);
        fs::create_dir_all(file.parent().expect("a file lies in a folder"))?;
        fs::write(file, text)?;
    }
    write_large(File::create(folder.join(LARGE))?)
}

/// Writes a block of pseudo-random bytes repeatedly. The number of bytes left goes in front of each, so that no two
/// blocks are equal.
fn write_large(mut file: File) -> io::Result<()> {
    let mut block = vec![0_u8; BLOCK_BYTES];
    let mut state = SEED;
    for word in block.chunks_exact_mut(size_of::<u64>()) {
        // Xorshift: cheap, and the result does not compress.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    let mut left = LARGE_BYTES;
    while left > 0 {
        block[..size_of::<u64>()].copy_from_slice(&left.to_le_bytes());
        let length = usize::try_from(left).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
        file.write_all(&block[..length])?;
        left -= length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_small_and_one_is_large() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        assert_eq!(fs::metadata(folder.path().join(LARGE)).unwrap().len(), LARGE_BYTES);
        assert!(
            TEXTS.iter().all(|(key, text)| fs::read_to_string(folder.path().join(key)).unwrap() == *text)
        );
    }
}
