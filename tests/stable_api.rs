//! The promised Rust API (docs/STABLE.md): every item of `docs/stable/rust.txt`, used with its full type. What is removed
//! or changed does not compile. `tests/documents.rs` checks that each name is used here.

#![expect(dead_code, reason = "only the compiler reads most of it")]

use std::ffi::OsString;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::net::IpAddr;
use std::ops::Deref;
use std::process::ExitCode;
use std::time::Duration;

use frontdesk::actix_web::http::StatusCode;
use frontdesk::actix_web::web::ServiceConfig;
use frontdesk::actix_web::{FromRequest, HttpResponse, ResponseError};
use frontdesk::events::{
    self, Deleted, Deletion, EmailChanged, Export, Hook, PasswordChanged, Registered, RegisteredBy,
    SignedIn, SignedOut,
};
use frontdesk::live::{EndReason, Event, event_stream};
use frontdesk::sqlx::{self, PgConnection, PgPool};
use frontdesk::{
    Admin, AssuranceLevel, BoxError, CommandContext, ContentSecurityPolicy, Cookies, CurrentUser,
    Data, Embedded, Error, FieldErrors, Form, FormView, Group, HookResult, JobContext, Limits,
    MailOutcome, Mailer, Member, Notice, Page, PageResult, Path, Pool, Query,
    RecentlyAuthenticated, Routes, SessionData, Text, Time, UserRole, Visitor, Website, page_path,
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

fn is_extractor<T: FromRequest + 'static>() {}
fn is_shared<T: Clone + Debug + Send + Sync + 'static>() {}
fn is_copied<T: Copy + Debug + Eq + Send + Sync + 'static>() {}
fn is_serialized<T: Serialize>() {}
fn is_error<T: Debug + Display>() {}
fn is_future_of<T>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
    future
}

#[cfg(feature = "mimalloc")]
frontdesk::use_mimalloc!();

struct Editors;

impl Group for Editors {
    const NAME: &'static str = "editors";
}

#[derive(Deserialize)]
struct Settings {
    page_size: u32,
}

async fn empty(page: Page) -> PageResult {
    page.render("empty.html", &json!({}))
}

#[test]
fn a_website_is_built_with_the_promised_methods() {
    let new: fn(Embedded) -> Website = Website::new;
    let none: fn() -> Embedded = Embedded::none;
    let of_crate: Embedded = frontdesk::embed!();
    let main: fn(Website) -> ExitCode = Website::main;
    let named: Website = new(none()).name("Notes").name("Notes".to_owned());
    let website: Website = named
        .routes(|routes: &mut Routes| {
            routes.template("/", "start.html");
        })
        .navigation("Notes", "/notes")
        .data(7_u64)
        .settings::<Settings>("NOTES_")
        .content_security_policy(|policy: ContentSecurityPolicy| policy.script_self())
        .job("tidy", Duration::from_secs(60), tidy)
        .command("count", "Count the notes", count);
    assert!(format!("{:?}", hooks(website)).contains("Notes"));
    let _: (Website, fn(Website) -> ExitCode) = (new(of_crate), main);
}

async fn tidy(job: JobContext) -> Result<(), BoxError> {
    let (pool, mailer): (&Pool, &Mailer) = (job.pool(), job.mailer());
    let _: (Pool, Mailer) = (pool.clone(), mailer.clone());
    // The operator `?` on errors of handlers.
    Err(Error::not_found())?
}

async fn count(command: CommandContext, _: Vec<OsString>) -> Result<ExitCode, BoxError> {
    let (_, _): (&Pool, &Mailer) = (command.pool(), command.mailer());
    Ok(ExitCode::SUCCESS)
}

fn hooks(website: Website) -> Website {
    website
        .on_registered(registered)
        .on_registered(registered_with_mailer)
        .on_email_changed(email_changed)
        .on_deletion(deletion)
        .on_export("notes", export)
        .after_sign_in(signed_in)
        .after_sign_out(signed_out)
        .after_password_changed(password_changed)
        .after_deletion(deleted)
}

async fn registered(event: Registered, _: &mut PgConnection) -> HookResult {
    is_shared::<Registered>();
    is_copied::<RegisteredBy>();
    let Registered { user, email, display_name, language, by, .. } = event;
    let _: (Uuid, String, String, String) = (user, email, display_name, language);
    match by {
        RegisteredBy::User | RegisteredBy::Admin => {}
        RegisteredBy::Invitation | RegisteredBy::Import => {}
        _ => {}
    }
    Ok(())
}

async fn registered_with_mailer(
    event: Registered,
    connection: &mut PgConnection,
    mailer: Mailer,
) -> HookResult<()> {
    is_extractor::<Mailer>();
    is_shared::<Mailer>();
    is_copied::<MailOutcome>();
    let data = json!({ "plan": "free" });
    let enqueued = is_future_of(mailer.enqueue(connection, event.user, "welcome", &data));
    let outcome: sqlx::Result<MailOutcome> = enqueued.await;
    match outcome? {
        MailOutcome::Queued | MailOutcome::OverLimit => {}
        MailOutcome::Unverified | MailOutcome::NoSuchUser => {}
        _ => {}
    }
    Ok(())
}

async fn email_changed(event: EmailChanged, _: &mut PgConnection) -> HookResult {
    is_shared::<EmailChanged>();
    let EmailChanged { user, old_email, new_email, .. } = event;
    let _: (Uuid, String, String) = (user, old_email, new_email);
    Ok(())
}

async fn deletion(event: Deletion, _: &mut PgConnection) -> HookResult {
    is_shared::<Deletion>();
    let Deletion { user, email, .. } = event;
    let _: (Uuid, String) = (user, email);
    Ok(())
}

async fn export(event: Export, _: &mut PgConnection) -> HookResult<Value> {
    is_shared::<Export>();
    let Export { user, .. } = event;
    let _: Uuid = user;
    Ok(json!([]))
}

macro_rules! after {
    ($($name:ident $event:ident;)*) => {$(
        async fn $name(event: $event, _: &mut PgConnection) -> HookResult {
            is_shared::<$event>();
            let $event { id, user, email, at, ip_address, device, .. } = event;
            let _: (Uuid, Uuid, String) = (id, user, email);
            let _: (OffsetDateTime, Option<IpAddr>, Option<String>) = (at, ip_address, device);
            Ok(())
        }
    )*};
}

after! {
    signed_in SignedIn;
    signed_out SignedOut;
    password_changed PasswordChanged;
    deleted Deleted;
}

/// The bound of the methods that register hooks: a site may pass hooks on.
fn is_hook<A: 'static, F: for<'c> Hook<'c, Registered, (), A> + 'static>(_: F) {}

fn kinds_of_hooks() {
    is_hook(registered);
    is_hook(registered_with_mailer);
    let _: fn(events::HookResult) -> HookResult = |result| result;
    let _: fn(events::BoxError) -> BoxError = |error| error;
    let _: fn(events::Mailer, events::MailOutcome) -> (Mailer, MailOutcome) = |one, two| (one, two);
}

fn routes(routes: &mut Routes) {
    let same: &mut Routes = routes
        .get("/a", empty)
        .post("/a", empty)
        .put("/a", empty)
        .patch("/a", empty)
        .delete("/a", empty)
        .template("/b", "b.html")
        .without_session(|routes: &mut Routes| {
            routes.post("/hook", empty);
        })
        .fallback(empty)
        .configure(|_: &mut ServiceConfig| ());
    is_copied::<Limits>();
    let Limits { body, deadline } = Limits { body: 1_usize, deadline: Duration::from_secs(1) };
    same.limits(Limits { body, deadline }, |routes: &mut Routes| {
        routes.get("/c", empty);
    });
}

fn policy(policy: ContentSecurityPolicy) -> ContentSecurityPolicy {
    is_shared::<ContentSecurityPolicy>();
    let origin: &str = "https://images.example";
    policy
        .script_self()
        .connect_self()
        .connect_to(origin)
        .image_from(origin)
        .image_data()
        .style_from(origin)
        .font_self()
        .font_from(origin)
        .media_self()
        .media_from(origin)
        .frame_from(origin)
        .form_to(origin)
        .worker_self()
        .manifest_self()
}

async fn user(user: CurrentUser, connection: &mut PgConnection) -> Result<(), Error> {
    is_extractor::<CurrentUser>();
    is_shared::<CurrentUser>();
    let _: (Uuid, &str, &str, &str) =
        (user.id(), user.email(), user.display_name(), user.language());
    let _: (UserRole, AssuranceLevel, bool) =
        (user.role(), user.assurance_level(), user.is_in("editors"));
    let _: bool = user.email_is_verified();
    let _: (Uuid, OffsetDateTime, bool) = (user.session_id(), user.signed_in_at(), user.is_live());
    let _: () = user.record_activity();
    let live: bool = is_future_of(user.check_live()).await;
    let required: Result<(), Error> = is_future_of(user.require_live(connection)).await;
    let ended: EndReason = is_future_of(is_static(user.ended())).await;
    let _ = (live, ended);
    required
}

fn is_static<T: 'static>(value: T) -> T {
    value
}

fn levels(role: UserRole, level: AssuranceLevel) -> bool {
    is_copied::<UserRole>();
    is_copied::<AssuranceLevel>();
    matches!(role, UserRole::User | UserRole::Admin)
        && matches!(level, AssuranceLevel::Aal1 | AssuranceLevel::Aal2)
        && AssuranceLevel::Aal1 < AssuranceLevel::Aal2
}

fn times(at: OffsetDateTime) -> Time {
    is_copied::<Time>();
    is_serialized::<Time>();
    Time::from(at)
}

/// What hands out the signed-in user.
fn is_user<T: FromRequest + Clone + Debug + Deref<Target = CurrentUser> + 'static>() {}

fn other_users(visitor: &Visitor) -> Option<&CurrentUser> {
    is_user::<Admin>();
    is_user::<RecentlyAuthenticated>();
    is_user::<Member<Editors>>();
    is_extractor::<Visitor>();
    is_shared::<Visitor>();
    visitor.user()
}

fn pages(page: &Page, form: &FormView) -> Result<[HttpResponse; 5], Error> {
    is_extractor::<Page>();
    let rendered: PageResult = page.render("a.html", &json!({}));
    let with_form: PageResult = page.render_form("a.html", form, &json!({}));
    let created: PageResult = page.render_with(StatusCode::CREATED, "a.html", &json!({}));
    let _: String = page.text("note-added");
    let redirect: HttpResponse = page.redirect("/notes");
    let notice: Notice = Notice::success("Note added.");
    let with_notice: HttpResponse = page.redirect_with("/notes", notice);
    Ok([rendered?, with_form?, created?, redirect, with_notice])
}

#[test]
fn values_are_made_with_the_promised_functions() {
    is_shared::<Notice>();
    is_shared::<Text>();
    is_serialized::<Text>();
    is_error::<Error>();
    let text: Text = Text::key("no-such-key").with("n", 3).with("name", "Ada").with("it", note());
    assert_eq!(text, "no-such-key");
    let _: [Text; 4] =
        ["a".into(), "a".to_owned().into(), (&"a".to_owned()).into(), Text::key("a".to_owned())];
    let _: [Notice; 3] =
        [Notice::success(text), Notice::info("a"), Notice::warning("a".to_owned())];
    let path: fn(&str) -> String = page_path;
    assert_eq!(path("/login"), "/login");
    let errors: [Error; 5] = [
        Error::not_found(),
        Error::forbidden(),
        Error::bad_request(),
        Error::unavailable(std::fmt::Error),
        Error::internal("no paper"),
    ];
    assert_eq!(errors.map(|error| error.status_code().as_u16()), [404, 403, 400, 503, 500]);
    let failed: Error = std::fmt::Error.into();
    assert_eq!(failed.status_code(), StatusCode::INTERNAL_SERVER_ERROR);
}

fn note() -> Text {
    Text::from("a note")
}

#[derive(Deserialize)]
struct NewNote {
    body: String,
}

fn form(form: Form<NewNote>) -> Result<NewNote, FormView> {
    is_extractor::<Form<NewNote>>();
    is_shared::<FormView>();
    is_serialized::<FormView>();
    let _: FormView = FormView::default();
    let view: FormView = FormView::with_values([("body", "Milk")]);
    let _: bool = view.is_valid();
    form.check(|note: &NewNote, errors: &mut FieldErrors| {
        errors.add("body", note.body.clone());
        errors.set_message("Wrong.");
    })
}

async fn database(pool: Pool) -> Result<i64, Error> {
    is_extractor::<Pool>();
    is_shared::<Pool>();
    let _: &PgPool = &pool;
    let work = pool.transaction(|connection: &mut PgConnection| {
        Box::pin(async move {
            let one: i64 = sqlx::query_scalar("SELECT 1").fetch_one(connection).await?;
            Ok(one)
        })
    });
    is_future_of(work).await
}

fn request(cookies: &Cookies, session: &SessionData) -> Result<(), Error> {
    is_extractor::<Cookies>();
    is_shared::<Cookies>();
    is_extractor::<SessionData>();
    let _: Option<&str> = cookies.get("theme");
    let _: Option<u32> = session.get("visits")?;
    let _: () = session.insert("visits", &1_u32)?;
    let _: bool = session.remove("visits");
    Ok(())
}

fn of_actix(data: Data<u8>, path: Path<u8>, query: Query<u8>) {
    use frontdesk::actix_web::web;
    let _: (web::Data<u8>, web::Path<u8>, web::Query<u8>) = (data, path, query);
}

#[test]
fn events_of_streams_are_made_with_the_promised_functions() {
    is_shared::<Event>();
    is_copied::<EndReason>();
    let event: Event = Event::new("data").named("news").with_id("7");
    assert_ne!(event, Event::from("data"));
    assert_ne!(event, Event::default());
    let same: fn(&CurrentUser, stream::Empty<Event>) -> HttpResponse = event_stream;
    let _: fn(&CurrentUser, stream::Empty<String>) -> HttpResponse = event_stream;
    let _ = same;
}

fn reasons(reason: EndReason) {
    match reason {
        EndReason::SignedOut | EndReason::Revoked => {}
        EndReason::IdleTimeout | EndReason::AbsoluteTimeout => {}
        EndReason::Unverified | EndReason::ServerStopping | EndReason::TooManyConnections => {}
        _ => {}
    }
}

#[cfg(feature = "testing")]
mod testing {
    use std::time::Duration;

    use frontdesk::sqlx::PgPool;
    use frontdesk::testing::{Browser, CommandOutput, Mail, PASSWORD, Response, TestServer};

    fn server(server: TestServer) -> Option<i32> {
        let _: fn(&str) -> TestServer = TestServer::start;
        let _: TestServer = TestServer::start_with("", [("FRONTDESK_DRAIN", "1s")]);
        let _: TestServer = server.another();
        let browser: Browser = server.browser();
        let _: Browser = server.browser_with_cookies_of(&browser);
        let _: (&str, &PgPool, String) = (server.url(), server.pool(), server.log());
        let _: u8 = server.block_on(async { 7 });
        let _: () = server.db_age_session("ada@example.com", Duration::from_secs(1));
        mail(server.mail_to("ada@example.com"));
        output(server.command(["user", "list"]));
        server.stop()
    }

    fn mail(mail: Mail) {
        super::is_shared::<Mail>();
        let Mail { subject, text, links, .. } = mail;
        let _: (String, String, Vec<String>) = (subject, text, links);
    }

    fn output(output: CommandOutput) {
        super::is_shared::<CommandOutput>();
        let CommandOutput { code, stdout, stderr, .. } = output;
        let _: (Option<i32>, String, String) = (code, stdout, stderr);
    }

    fn browser(browser: Browser) {
        let browser: Browser = browser.sign_in("ada@example.com");
        let _: Option<String> = browser.cookie("theme");
        let _: () = browser.set_cookie("theme", "dark");
        let opened: Response = browser.get("/");
        let _: Response = browser.follow(opened);
        let _: Response = browser.post("/notes", [("body", "Milk")]);
        let _: Response = browser.submit("/notes", [("body", "Milk")]);
        response(browser.request("PUT", "/", [("accept", "*/*")], b"x"));
    }

    fn response(response: Response) {
        super::is_shared::<Response>();
        let _: (u16, Option<&str>, &str) =
            (response.status(), response.header("etag"), response.location());
        let _: (&str, &[u8], &str) = (response.text(), response.body(), PASSWORD);
    }
}
