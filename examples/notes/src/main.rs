//! A site with its own pages on Frontdesk. Each user sees only their own notes.

use std::process::ExitCode;

use frontdesk::events::{Export, Registered};
use frontdesk::{CurrentUser, Error, Form, FormView, HookResult, Notice, Page, PageResult, Path};
use frontdesk::{Pool, Routes, Website};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection};

const NAME: &str = "Notes";
const LIST: &str = "SELECT id, body FROM notes WHERE owner_id = $1 ORDER BY id DESC LIMIT $2";

#[derive(Serialize, FromRow)]
struct Note {
    id: i64,
    body: String,
}

#[derive(Deserialize)]
struct NewNote {
    body: String,
}

async fn list(user: CurrentUser, page: Page, pool: Pool) -> PageResult {
    show(user, page, pool, FormView::default()).await
}

async fn show(user: CurrentUser, page: Page, pool: Pool, form: FormView) -> PageResult {
    let notes: Vec<Note> =
        sqlx::query_as(LIST).bind(user.id()).bind(200_i64).fetch_all(&*pool).await?;
    page.render_form("notes.html", &form, &json!({ "notes": notes }))
}

async fn add(user: CurrentUser, page: Page, pool: Pool, form: Form<NewNote>) -> PageResult {
    let checked = form.check(|note, errors| {
        if !(1..=2000).contains(&note.body.trim().chars().count()) {
            errors.add("body", "Write 1 to 2,000 characters.");
        }
    });
    let note = match checked {
        Ok(note) => note,
        Err(form) => return show(user, page, pool, form).await,
    };
    let insert = sqlx::query("INSERT INTO notes (owner_id, body) VALUES ($1, $2)");
    insert.bind(user.id()).bind(note.body.trim()).execute(&*pool).await?;
    Ok(page.redirect_with("/notes", Notice::success("Note added.")))
}

async fn delete(user: CurrentUser, page: Page, pool: Pool, id: Path<i64>) -> PageResult {
    let delete = sqlx::query("DELETE FROM notes WHERE id = $1 AND owner_id = $2");
    match delete.bind(*id).bind(user.id()).execute(&*pool).await?.rows_affected() {
        0 => Err(Error::not_found()),
        _ => Ok(page.redirect_with("/notes", Notice::success("Note deleted."))),
    }
}

fn routes(routes: &mut Routes) {
    routes.template("/", "start.html");
    routes.get("/notes", list).post("/notes", add).post("/notes/{id}/delete", delete);
}

async fn welcome(event: Registered, connection: &mut PgConnection) -> HookResult {
    let insert = sqlx::query("INSERT INTO notes (owner_id, body) VALUES ($1, 'Welcome!')");
    insert.bind(event.user).execute(connection).await?;
    Ok(())
}

async fn export(event: Export, connection: &mut PgConnection) -> HookResult<Value> {
    let all = sqlx::query_as(LIST).bind(event.user).bind(i64::MAX);
    let notes: Vec<Note> = all.fetch_all(connection).await?;
    Ok(json!(notes))
}

fn main() -> ExitCode {
    let website = Website::new(frontdesk::embed!()).name(NAME).routes(routes);
    website.navigation("Notes", "/notes").on_registered(welcome).on_export("notes", export).main()
}
