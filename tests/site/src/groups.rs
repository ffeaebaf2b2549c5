//! Pages for the members of groups.

use frontdesk::{CurrentUser, Group, Member, Path, Routes};

struct Editors;

impl Group for Editors {
    const NAME: &'static str = "editors";
}

pub fn routes(routes: &mut Routes) {
    routes.get("/editors", editors).post("/editors", editors).get("/is-in/{group}", is_in);
}

async fn editors(editor: Member<Editors>) -> String {
    editor.email().to_owned()
}

async fn is_in(user: CurrentUser, group: Path<String>) -> String {
    user.is_in(&group).to_string()
}
