//! A connection to a mail server of which only a bounded number of bytes is read. lettre checks the length of a
//! line only after it has read all of it, so a server that sends one endless line would fill the memory.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that a mail server may send in one connection, which carries one mail. A usual dialogue has less than
/// 10 KiB, TLS handshake included.
const MAX_RECEIVED: usize = 256 * 1024;

/// A stream that fails once [`MAX_RECEIVED`] bytes were read from it.
#[derive(Debug)]
pub(super) struct BoundedStream<S> {
    inner: S,
    peer: SocketAddr,
    left: usize,
}

impl<S> BoundedStream<S> {
    pub(super) fn new(inner: S, peer: SocketAddr) -> Self {
        Self { inner, peer, left: MAX_RECEIVED }
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
        let length = buffer.remaining().min(this.left);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(length));
        ready!(Pin::new(&mut this.inner).poll_read(context, &mut part))?;
        let received = part.filled().len();
        buffer.advance(received);
        this.left -= received;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BoundedStream<S> {
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
