//! A connection to a mail server, as lettre may read it:
//!
//! * Only a bounded number of bytes. lettre checks the length of a line only after it has read all of it, so a
//!   server that sends one endless line would fill the memory.
//! * At most one line at a time. lettre keeps what it has read beyond a line in a buffer, and does not empty that
//!   buffer when TLS begins: lines that an attacker in the network sends behind the reply to STARTTLS would count
//!   as said under TLS (response injection, as in CVE-2011-0411). Here they stay in the stream, so TLS reads them
//!   as a part of its handshake, which then fails.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, BufReader, ReadBuf};

/// Bytes that a mail server may send in one connection, which carries one mail. A usual dialogue has less than
/// 10 KiB, TLS handshake included.
const MAX_RECEIVED: usize = 256 * 1024;

/// A stream of which each read returns at most one line, and which fails once [`MAX_RECEIVED`] bytes were read.
#[derive(Debug)]
pub(super) struct BoundedStream<S> {
    inner: BufReader<S>,
    peer: SocketAddr,
    left: usize,
}

impl<S: AsyncRead> BoundedStream<S> {
    pub(super) fn new(inner: S, peer: SocketAddr) -> Self {
        Self { inner: BufReader::new(inner), peer, left: MAX_RECEIVED }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BoundedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left == 0 {
            let text = format!("the mail server sent more than {} KiB", MAX_RECEIVED / 1024);
            return Poll::Ready(Err(io::Error::other(text)));
        }
        let received = ready!(Pin::new(&mut this.inner).poll_fill_buf(context))?;
        let line = memchr::memchr(b'\n', received).map_or(received.len(), |end| end + 1);
        let length = line.min(buffer.remaining()).min(this.left);
        buffer.put_slice(&received[..length]);
        Pin::new(&mut this.inner).consume(length);
        this.left -= length;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for BoundedStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream
    for BoundedStream<S>
{
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn read(stream: &mut BoundedStream<&[u8]>) -> String {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).await.unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[tokio::test]
    async fn a_read_returns_at_most_one_line_and_leaves_the_rest_in_the_stream() {
        let lines: &[u8] = b"220 go ahead\r\n250 injected\r\nrest";
        let mut stream = BoundedStream::new(lines, ([127, 0, 0, 1], 25).into());
        for line in ["220 go ahead\r\n", "250 injected\r\n", "rest", ""] {
            assert_eq!(read(&mut stream).await, line);
        }
    }
}
