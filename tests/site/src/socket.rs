//! The WebSocket of docs/LIVE.md: each message is sent to everyone who listens.

use actix_ws::AggregatedMessage;
use frontdesk::actix_web::{HttpRequest, HttpResponse, rt, web};
use frontdesk::{CurrentUser, Data};
use futures_util::StreamExt as _;

use crate::News;

pub async fn socket(
    user: CurrentUser,
    request: HttpRequest,
    body: web::Payload,
    news: Data<News>,
) -> Result<HttpResponse, frontdesk::actix_web::Error> {
    let (answer, mut socket, messages) = actix_ws::handle(&request, body)?;
    let mut messages = messages.aggregate_continuations();
    let mut received = news.0.subscribe();
    rt::spawn(async move {
        let ended = user.ended();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                biased;
                _ = &mut ended => break,
                message = messages.next() => match message {
                    Some(Ok(AggregatedMessage::Text(text))) => {
                        user.record_activity();
                        news.0.send(text.to_string()).ok();
                    }
                    Some(Ok(AggregatedMessage::Ping(ping))) => {
                        if socket.pong(&ping).await.is_err() { break }
                    }
                    Some(Ok(AggregatedMessage::Binary(_) | AggregatedMessage::Pong(_))) => {}
                    // The client closes, or is gone.
                    _ => break,
                },
                text = received.recv() => match text {
                    Ok(text) if user.check_live().await => {
                        if socket.text(text).await.is_err() { break }
                    }
                    _ => break,
                },
            }
        }
        socket.close(None).await.ok();
    });
    Ok(answer)
}
