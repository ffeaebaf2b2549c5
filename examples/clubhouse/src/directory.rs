//! The directory of the members, with their pictures. Only members see it.

use actix_multipart::Multipart;
use frontdesk::actix_web::HttpResponse;
use frontdesk::events::Export;
use frontdesk::{
    CurrentUser, Error, Group, HookResult, Member, Notice, Page, PageResult, Path, Pool,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// In bytes. The table has the same limit.
const MAX_PICTURE: usize = 2 << 20;
/// In bytes: the picture, and what a multipart body has around it.
pub const MAX_UPLOAD: usize = MAX_PICTURE + 4096;

/// The group `members`: `clubhouse group add-member members EMAIL`.
pub struct Members;

impl Group for Members {
    const NAME: &'static str = "members";
}

#[derive(Serialize, FromRow)]
struct Entry {
    id: Uuid,
    display_name: String,
    has_picture: bool,
}

pub async fn list(user: Member<Members>, page: Page, pool: Pool) -> PageResult {
    let members: Vec<Entry> = sqlx::query_as(
        "SELECT id, display_name,
             EXISTS (SELECT FROM pictures WHERE pictures.user_id = user_profiles.id) AS has_picture
         FROM user_profiles JOIN user_groups ON user_groups.user_id = id
         WHERE group_name = $1 ORDER BY lower(display_name), id LIMIT 500",
    )
    .bind(Members::NAME)
    .fetch_all(&*pool)
    .await?;
    page.render("members.html", &json!({ "members": members, "own_id": user.id() }))
}

pub async fn upload(
    user: Member<Members>,
    page: Page,
    pool: Pool,
    mut form: Multipart,
) -> PageResult {
    let mut picture = Vec::new();
    while let Some(mut field) = form.try_next().await.map_err(|_| Error::bad_request())? {
        while let Some(part) = field.next().await {
            let part = part.map_err(|_| Error::bad_request())?;
            if field.name() == Some("picture") {
                picture.extend_from_slice(&part);
            }
        }
    }
    let Some(content_type) = content_type(&picture) else {
        let notice =
            Notice::warning("Choose a picture in the format JPEG, PNG or WebP, of at most 2 MB.");
        return Ok(page.redirect_with("/members", notice));
    };
    sqlx::query(
        "INSERT INTO pictures (user_id, content_type, content) VALUES ($1, $2, $3)
         ON CONFLICT (user_id) DO UPDATE SET content_type = excluded.content_type, content = excluded.content",
    )
    .bind(user.id())
    .bind(content_type)
    .bind(&picture)
    .execute(&*pool)
    .await?;
    Ok(page.redirect_with("/members", Notice::success("Picture saved.")))
}

/// By the first bytes, because the name and the type that a browser sends may be anything.
fn content_type(picture: &[u8]) -> Option<&'static str> {
    let found = infer::get(picture).filter(|_| picture.len() <= MAX_PICTURE)?.mime_type();
    ["image/jpeg", "image/png", "image/webp"].into_iter().find(|allowed| *allowed == found)
}

/// For members, and for the one whose picture it is.
pub async fn picture(user: CurrentUser, pool: Pool, id: Path<Uuid>) -> Result<HttpResponse, Error> {
    if *id != user.id() && !user.is_in(Members::NAME) {
        return Err(Error::forbidden());
    }
    let picture: Option<(String, Vec<u8>)> =
        sqlx::query_as("SELECT content_type, content FROM pictures WHERE user_id = $1")
            .bind(*id)
            .fetch_optional(&*pool)
            .await?;
    let (content_type, content) = picture.ok_or_else(Error::not_found)?;
    Ok(HttpResponse::Ok().content_type(content_type).body(content))
}

pub async fn export(event: Export, connection: &mut PgConnection) -> HookResult<Value> {
    let has_picture: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pictures WHERE user_id = $1)")
            .bind(event.user)
            .fetch_one(connection)
            .await?;
    Ok(if has_picture { json!(format!("/members/{}/picture", event.user)) } else { Value::Null })
}
