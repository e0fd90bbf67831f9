//! One JSON object per line, of bounded length.

use serde::Serialize;
use tokio::io::{self, AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

/// Writes one object and its line break.
pub(super) async fn write_line<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    value: &T,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await
}

/// Reads a line of at most `max` bytes; nothing at the end.
pub(super) async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    max: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let found = reader.fill_buf().await?;
        if found.is_empty() {
            return Ok(None);
        }
        let end = found.iter().position(|byte| *byte == b'\n');
        let (part, used) = match end {
            Some(end) => (found.get(..end).unwrap_or_default(), end.saturating_add(1)),
            None => (found, found.len()),
        };
        if line.len().saturating_add(part.len()) > max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
        }
        line.extend_from_slice(part);
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Longest request: fits the longest text with every byte escaped.
pub(super) const REQUEST_MAX: usize = 512 * 1024;
/// Longest response: fits the longest page with every byte escaped.
pub(super) const RESPONSE_MAX: usize = 64 * 1024 * 1024;
