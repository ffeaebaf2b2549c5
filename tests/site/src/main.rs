//! A site that uses what a site can use, for `tests/it/website.rs`.

mod groups;
mod hooks;
mod mails;
mod patterns;
mod requests;
mod socket;
mod work;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use frontdesk::actix_web::http::header::{CACHE_CONTROL, COOKIE};
use frontdesk::actix_web::{HttpRequest, HttpResponse, web};
use frontdesk::live::event_stream;
use frontdesk::{
    Admin, BoxError, CommandContext, Cookies, CurrentUser, Data, Error, Form, FormView, JobContext,
    Limits, Notice, Page, PageResult, Path, Pool, RecentlyAuthenticated, Routes, Text, Time,
    Visitor, Website, sqlx,
};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;

#[derive(Deserialize)]
struct Settings {
    greeting: String,
    #[serde(default)]
    limit: Option<u8>,
}

#[derive(Default)]
struct Visits(AtomicU64);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    count: u8,
    /// For a form that is larger than others.
    #[serde(rename = "note")]
    _note: Option<String>,
}

async fn start(visitor: Visitor, visits: Data<Visits>, settings: Data<Settings>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "email": visitor.user().map(CurrentUser::email),
        "visits": visits.0.fetch_add(1, Ordering::Relaxed) + 1,
        "greeting": settings.greeting,
        "limit": settings.limit,
    }))
}

async fn whoami(user: CurrentUser, pool: Pool) -> Result<HttpResponse, Error> {
    let answer = json!({
        "id": user.id().to_string(),
        "email": user.email(),
        "email_is_verified": user.email_is_verified(),
        "display_name": user.display_name(),
        "role": format!("{:?}", user.role()),
        "session": user.session_id().to_string(),
    });
    pool.transaction(move |connection| {
        Box::pin(async move { user.require_live(connection).await })
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

async fn show(visitor: Visitor, page: Page) -> PageResult {
    let signed_in = visitor.user().map(|user| Time::from(user.signed_in_at()));
    // The values of every page win over these.
    let data = json!({ "viewer": "x", "site": "x", "navigation": "x", "lang": "xx", "extra": "own", "signed_in": signed_in });
    page.render_form("page.html", &FormView::default(), &data)
}

async fn save(user: RecentlyAuthenticated, page: Page, form: Form<Count>) -> PageResult {
    let checked = form.check(|form, errors| {
        if form.count == 0 {
            errors.add("count", Text::key("page-count-one"));
        }
    });
    match checked {
        Ok(form) => {
            let text = Text::key("page-counted").with("name", user.display_name());
            let text = text.with("n", u32::from(form.count));
            Ok(page.redirect_with("/page", Notice::success(text)))
        }
        Err(form) => page.render_form("page.html", &form, &json!({ "signed_in": null })),
    }
}

async fn wrong_order(_: Form<Count>, _: RecentlyAuthenticated) -> HttpResponse {
    HttpResponse::Ok().finish()
}

async fn statistics(admin: Admin) -> HttpResponse {
    HttpResponse::Ok().body(admin.email().to_owned())
}

async fn fail(kind: Path<String>, pool: Pool) -> PageResult {
    Err(match kind.as_str() {
        "not-found" => Error::not_found(),
        "forbidden" => Error::forbidden(),
        "bad-request" => Error::bad_request(),
        "unavailable" => Error::unavailable("the printer is out of paper"),
        "internal" => Error::internal("the printer is on fire"),
        "parse" => "x".parse::<u8>().unwrap_err().into(),
        "database" => sqlx::query("SELECT 1/0").execute(&*pool).await.unwrap_err().into(),
        "table" => sqlx::query("SELECT FROM nowhere").execute(&*pool).await.unwrap_err().into(),
        _ => panic!("a bug"),
    })
}

async fn cookies(request: HttpRequest, cookies: Cookies) -> HttpResponse {
    let headers: Vec<&str> =
        request.headers().get_all(COOKIE).filter_map(|value| value.to_str().ok()).collect();
    HttpResponse::Ok().json(json!({ "theme": cookies.get("theme"), "headers": headers }))
}

/// For every path without a route.
async fn missing(request: HttpRequest, cookies: Cookies) -> HttpResponse {
    let sent = request.headers().get(COOKIE).and_then(|value| value.to_str().ok());
    HttpResponse::NotFound().json(json!({ "theme": cookies.get("theme"), "cookies": sent }))
}

async fn echo(body: web::Json<Value>) -> HttpResponse {
    HttpResponse::Ok().json(body.into_inner())
}

async fn feed() -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "public, max-age=60")).body("feed")
}

async fn never(_: CurrentUser) -> HttpResponse {
    HttpResponse::Ok().finish()
}

async fn slow() -> HttpResponse {
    tokio::time::sleep(Duration::from_secs(20)).await;
    HttpResponse::Ok().finish()
}

async fn length(form: web::Bytes) -> HttpResponse {
    HttpResponse::Ok().body(form.len().to_string())
}

/// What was said, for everyone who listens.
struct News(broadcast::Sender<String>);

async fn say(text: String, news: Data<News>) -> HttpResponse {
    HttpResponse::Ok().body(news.0.send(text).unwrap_or(0).to_string())
}

/// Says at first that it listens.
async fn listen(user: CurrentUser, news: Data<News>) -> HttpResponse {
    let said = stream::unfold(news.0.subscribe(), |mut news| async {
        let text = news.recv().await.ok()?;
        Some((text, news))
    });
    event_stream(&user, stream::iter(["listening".to_owned()]).chain(said))
}

/// Each message counts as activity of the user.
async fn chat(user: CurrentUser, news: Data<News>) -> HttpResponse {
    let speaker = user.clone();
    let said = stream::unfold((news.0.subscribe(), speaker), |(mut news, user)| async {
        let text = news.recv().await.ok()?;
        user.record_activity();
        Some((text, (news, user)))
    });
    event_stream(&user, stream::iter(["listening".to_owned()]).chain(said))
}

/// Tells why the session ended, once it has.
async fn ended(user: CurrentUser) -> HttpResponse {
    let reason = user.ended();
    // In another task, as for a WebSocket.
    let reason = tokio::spawn(reason).await.expect("no panic");
    HttpResponse::Ok().body(format!("{reason:?} {}", user.is_live()))
}

fn routes(routes: &mut Routes) {
    if patterns::replace(routes) {
        return;
    }
    let long = Limits { body: 1024, deadline: Duration::from_secs(300) };
    routes.limits(long, |routes| {
        routes.get("/ended", ended);
    });
    routes.get("/listen", listen).get("/chat", chat).get("/socket", socket::socket);
    routes.get("/", start).get("/whoami", whoami).get("/page", show).post("/recent", save);
    routes.post("/wrong-order", wrong_order).get("/statistics", statistics);
    routes.get("/fail/{kind}", fail).get("/cookies", cookies).post("/echo", echo);
    routes.post("/bytes", length).get("/.well-known/assetlinks.json", feed);
    requests::routes(routes);
    groups::routes(routes);
    mails::routes(routes);
    routes.fallback(missing);
    routes.put("/thing", length).patch("/thing", length).delete("/thing", length);
    routes.without_session(|routes| {
        routes.get("/feed", feed).get("/never", never).post("/webhook", length).post("/say", say);
        // Takes neither Frontdesk's pages nor the site's other ones.
        routes.get("/{tail:.*}.txt", feed).get("/p{any}", feed);
    });
    let quick = Limits { body: 128 * 1024, deadline: Duration::from_millis(200) };
    routes.limits(quick, |routes| {
        routes.get("/slow", slow);
    });
    let large = Limits { body: 128 * 1024, deadline: Duration::from_secs(30) };
    routes.limits(large, |routes| {
        routes.post("/large", save);
    });
    routes.configure(|config| {
        config.route("/raw", web::get().to(|| async { "raw" }));
    });
    if std::env::var_os("SITE_BROKEN").is_some() {
        routes
            .get("/account/notes", feed)
            .get("/feed", feed)
            .post("/page", save)
            .get("/page", show);
    }
}

async fn tick(job: JobContext) -> Result<(), BoxError> {
    sqlx::query("INSERT INTO ticks DEFAULT VALUES").execute(&**job.pool()).await?;
    Ok(())
}

async fn count(command: CommandContext, arguments: Vec<OsString>) -> Result<ExitCode, BoxError> {
    let select = sqlx::query_scalar("SELECT count(*) FROM ticks");
    let count: i64 = select.fetch_one(&**command.pool()).await?;
    println!("{count} ticks, {} arguments", arguments.len());
    if arguments.iter().any(|argument| argument == "--fail") {
        return Err("it was asked to fail".into());
    }
    Ok(ExitCode::from(7))
}

fn main() -> ExitCode {
    let mut embedded = frontdesk::embed!();
    if std::env::var_os("SITE_BROKEN_MESSAGES").is_some() {
        let file: &'static [u8] = include_bytes!("../broken/site.ftl");
        embedded = embedded.with_locales([("en/site.ftl".to_owned(), file.into())].into());
    }
    let website = hooks::add(Website::new(embedded))
        .name("Shop")
        .settings::<Settings>("SHOP_")
        .data(Visits::default())
        .data(News(broadcast::channel(1024).0))
        .routes(routes)
        .navigation("Page", "/page")
        .job("tick", Duration::from_secs(3600), tick)
        .content_security_policy(|csp| {
            let csp = csp.script_self().connect_self().image_from("https://images.example");
            let is_broken = std::env::var_os("SITE_BROKEN").is_some();
            if is_broken { csp.image_from("*") } else { csp }
        })
        .command("count", "Count the ticks", count);
    work::add(mails::add(website)).main()
}
