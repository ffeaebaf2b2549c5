//! `frontdesk group`: manages groups and their members.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::arguments::{Group as Action, Membership};
use super::exit::ExitStatus;
use super::operator::operator;
use super::{account, out, prompt};
use crate::db::Database;
use crate::session::await_invalidation;
use crate::user::groups::{self, Change, Group, GroupName, GroupTitle, Member};
use crate::web::relative_time;

/// How similar an unknown name is to a known one if it is probably a spelling mistake (`strsim`, 0 to 1).
const MISSPELLED: f64 = 0.7;

pub(super) async fn run(database: &Database, action: Action) -> anyhow::Result<ExitStatus> {
    match action {
        Action::Add { name, title, json } => add(database, name, title, json).await,
        Action::List { json } => list(database, json).await,
        Action::Show { name, limit, json } => show(database, &name, limit, json).await,
        Action::Remove { name, yes, json } => remove(database, name, yes, json).await,
        Action::AddMember(membership) => add_member(database, membership).await,
        Action::RemoveMember(membership) => remove_member(database, membership).await,
    }
}

async fn add(
    database: &Database,
    name: GroupName,
    title: Option<GroupTitle>,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let created = groups::create(&database.pool, name.clone(), title, operator()).await?;
    let Some(group) = created else {
        out::problem(&format!("There is already a group {name}. Nothing was changed."));
        return Ok(ExitStatus::NothingFound);
    };
    report(json, &data(&group), &format!("Created the group {name}."))
}

async fn list(database: &Database, json: bool) -> anyhow::Result<ExitStatus> {
    let mut list = out::List::new(json, ["NAME", "TITLE", "MEMBERS", "CREATED"]);
    let now = OffsetDateTime::now_utc();
    for group in groups::list(&database.pool).await? {
        let row = || {
            [
                group.name.clone(),
                group.title.clone().unwrap_or_default(),
                group.member_count.to_string(),
                relative_time::relative(group.created_at, now),
            ]
        };
        list.add(row, || data(&group));
    }
    list.end();
    Ok(ExitStatus::Done)
}

async fn show(
    database: &Database,
    name: &GroupName,
    limit: i64,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let Some(group) = groups::find(&database.pool, name).await? else {
        return no_such_group(database, name).await;
    };
    let mut members: Vec<Member> = Vec::new();
    for size in out::pages(limit) {
        let after = members.last().map(|member| member.id);
        let page = groups::members(&database.pool, group.id, after, size).await?;
        let is_last = (page.len() as i64) < size;
        members.extend(page);
        if is_last {
            break;
        }
    }
    if json {
        let mut data = data(&group);
        data["members"] = members.iter().map(member_data).collect();
        out::json(&data)?;
        return Ok(ExitStatus::Done);
    }
    for (label, value) in [
        ("ID", group.id.to_string()),
        ("Name", group.name.clone()),
        ("Title", group.title.clone().unwrap_or_else(|| "none".to_owned())),
        ("Created", relative_time::exact(group.created_at)),
        ("Members", group.member_count.to_string()),
    ] {
        out::line(&format!("{label:<11}{value}"));
    }
    if members.is_empty() {
        return Ok(ExitStatus::Done);
    }
    out::line("");
    let now = OffsetDateTime::now_utc();
    let rows: Vec<[String; 4]> = members
        .iter()
        .map(|member| {
            [
                member.email.clone(),
                member.display_name.clone(),
                member.id.to_string(),
                relative_time::relative(member.added_at, now),
            ]
        })
        .collect();
    out::table(["EMAIL", "NAME", "ID", "ADDED"], &rows);
    Ok(ExitStatus::Done)
}

async fn remove(
    database: &Database,
    name: GroupName,
    yes: bool,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let Some(group) = groups::find(&database.pool, &name).await? else {
        return no_such_group(database, &name).await;
    };
    let question = format!("This deletes the group {name} with {} member(s).", group.member_count);
    if !prompt::is_confirmed(yes, &question) {
        return Ok(ExitStatus::InvalidUsage);
    }
    let Some(members) = groups::remove(&database.pool, name.clone(), operator()).await? else {
        return no_such_group(database, &name).await;
    };
    await_invalidation(&database.pool, None).await;
    let data = json!({ "group": name.as_str(), "removed_members": members });
    report(json, &data, &format!("Deleted the group {name} with {members} member(s)."))
}

async fn add_member(
    database: &Database,
    Membership { group, account, json }: Membership,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, &account.account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let change = groups::add_member(&database.pool, group.clone(), user.id, operator()).await?;
    let text = match change {
        Change::Done => format!("{} is now a member of {group}.", user.email),
        Change::Nothing => format!("{} was already a member of {group}.", user.email),
        Change::NoSuchGroup => return no_such_group(database, &group).await,
        Change::NoSuchUser => return Ok(account::report_missing(&account.account)),
    };
    report_change(database, change, json, &group, &user.email, &text).await
}

async fn remove_member(
    database: &Database,
    Membership { group, account, json }: Membership,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, &account.account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let change = groups::remove_member(&database.pool, group.clone(), user.id, operator()).await?;
    let text = match change {
        Change::Done => format!("{} is no longer a member of {group}.", user.email),
        Change::Nothing => format!("{} was not a member of {group}.", user.email),
        Change::NoSuchGroup => return no_such_group(database, &group).await,
        Change::NoSuchUser => return Ok(account::report_missing(&account.account)),
    };
    report_change(database, change, json, &group, &user.email, &text).await
}

/// Reports a change of a membership once every server knows it.
async fn report_change(
    database: &Database,
    change: Change,
    json: bool,
    group: &GroupName,
    email: &str,
    text: &str,
) -> anyhow::Result<ExitStatus> {
    let changed = change == Change::Done;
    if changed {
        await_invalidation(&database.pool, None).await;
    }
    let data = json!({ "group": group.as_str(), "email": email, "changed": changed });
    report(json, &data, text)?;
    Ok(if changed { ExitStatus::Done } else { ExitStatus::NothingFound })
}

fn report(json: bool, data: &Value, text: &str) -> anyhow::Result<ExitStatus> {
    if json {
        out::json(data)?;
    } else {
        out::line(text);
    }
    Ok(ExitStatus::Done)
}

/// Prints that there is no group `name`, and the group that is probably meant.
async fn no_such_group(database: &Database, name: &GroupName) -> anyhow::Result<ExitStatus> {
    let names = groups::names(&database.pool).await?;
    let similarity = |known: &String| strsim::normalized_damerau_levenshtein(name.as_str(), known);
    let nearest = names
        .iter()
        .map(|known| (similarity(known), known))
        .filter(|(similarity, _)| *similarity >= MISSPELLED)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let hint = nearest.map_or_else(String::new, |(_, known)| format!(". Did you mean {known}?"));
    out::problem(&format!("No such group: {name}{hint}"));
    Ok(ExitStatus::NothingFound)
}

fn data(group: &Group) -> Value {
    json!({
        "id": group.id,
        "name": group.name,
        "title": group.title,
        "created_at": relative_time::iso(group.created_at),
        "member_count": group.member_count,
    })
}

fn member_data(member: &Member) -> Value {
    json!({
        "id": member.id,
        "email": member.email,
        "display_name": member.display_name,
        "added_at": relative_time::iso(member.added_at),
    })
}
