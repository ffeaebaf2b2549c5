//! Handlers that look at the request itself: its cookies, its body, its session.

use std::time::Duration;

use frontdesk::actix_web::cookie::Cookie;
use frontdesk::actix_web::http::header::CONTENT_TYPE;
use frontdesk::actix_web::{HttpRequest, HttpResponse, web};
use frontdesk::{CurrentUser, Error, Form, Limits, Path, Pool, Routes, SessionData};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Nothing {}

pub fn routes(routes: &mut Routes) {
    routes.get("/actix-cookies", actix_cookies).get("/set-cookie/{name}", set_cookie);
    routes.get("/teapot", teapot).get("/problem", problem).get("/bare-error", bare_error);
    routes.get("/visits", visits).get("/forget", forget).get("/remember/{size}", remember);
    routes.get("/who", who).post("/who", who).post("/change", change);
    // Both patterns match /files/small; the router takes the first one.
    routes.post("/files/small", length);
    routes.limits(Limits { body: 1 << 20, deadline: Duration::from_secs(20) }, |routes| {
        routes.post("/files/{name}", length).post("/files/{name}/json", json_length);
        routes.post("/files/{name}/form", form_is_read).post("/files/{name}/again", read_again);
    });
    routes.limits(Limits { body: 1 << 20, deadline: Duration::from_millis(1500) }, |routes| {
        routes.post("/impatient", length);
    });
    routes.post("/small-json", json_length).post("/small-form", form_is_read);
    routes.without_session(|routes| {
        routes.get("/public-cookies", actix_cookies).get("/set-public-cookie/{name}", set_cookie);
        routes.post("/public-length", length);
    });
}

async fn actix_cookies(request: HttpRequest) -> HttpResponse {
    let all: Vec<String> = request.cookies().map_or_else(
        |error| vec![error.to_string()],
        |all| all.iter().map(|cookie| cookie.name().to_owned()).collect(),
    );
    let value = |name: &str| request.cookie(name).map(|cookie| cookie.value().to_owned());
    HttpResponse::Ok().json(json!({
        "all": all, "session": value("session"), "theme": value("theme"),
    }))
}

async fn set_cookie(name: Path<String>) -> HttpResponse {
    HttpResponse::Ok()
        .cookie(Cookie::build(name.into_inner(), "of the site").path("/").finish())
        .body("set")
}

/// Asks for more after the end of the body, as actix-multipart does.
async fn read_again(mut body: web::Payload) -> HttpResponse {
    let mut length = 0;
    while let Some(Ok(chunk)) = body.next().await {
        length += chunk.len();
    }
    let is_over = body.next().await.is_none();
    HttpResponse::Ok().json(json!({ "length": length, "is_over": is_over }))
}

/// An error with content of its own.
async fn teapot() -> HttpResponse {
    HttpResponse::ImATeapot().content_type("text/plain").body("short and stout")
}

async fn problem() -> HttpResponse {
    HttpResponse::Conflict()
        .insert_header((CONTENT_TYPE, "application/problem+json"))
        .body("{\"title\":\"taken\"}")
}

async fn bare_error() -> HttpResponse {
    HttpResponse::Gone().finish()
}

async fn visits(session: SessionData) -> Result<String, Error> {
    let visits = session.get::<u32>("visits")?.unwrap_or(0) + 1;
    session.insert("visits", &visits)?;
    Ok(visits.to_string())
}

async fn forget(session: SessionData) -> String {
    session.remove("visits").to_string()
}

async fn remember(session: SessionData, size: Path<usize>) -> Result<String, Error> {
    session.insert("large", &"x".repeat(*size))?;
    Ok("remembered".to_owned())
}

async fn who(user: CurrentUser) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "language": user.language(),
        "assurance_level": format!("{:?}", user.assurance_level()),
        "signed_in_at": user.signed_in_at().unix_timestamp(),
    }))
}

async fn change(user: CurrentUser, pool: Pool, _: web::Bytes) -> Result<&'static str, Error> {
    pool.transaction(move |connection| {
        Box::pin(async move { user.require_live(connection).await })
    })
    .await?;
    Ok("changed")
}

async fn length(body: web::Bytes) -> String {
    body.len().to_string()
}

async fn json_length(body: web::Json<Value>) -> String {
    body.to_string().len().to_string()
}

async fn form_is_read(_: Form<Nothing>) -> &'static str {
    "read"
}
