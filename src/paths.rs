//! The paths of Frontdesk's pages.

/// What stands before the path of each page. Empty: the pages are at the root of the host.
const BASE: &str = "";

/// Where the page `to` is, such as `/login` or `/account/sessions?before=3`. All links, redirects and forms that
/// lead to Frontdesk's pages take their path from here; templates do so with the function `page_path(to="/login")`.
/// The paths of a site's own pages are not changed by it.
///
/// ```
/// use frontdesk::{Page, PageResult, page_path};
///
/// async fn leave(page: Page) -> PageResult {
///     Ok(page.redirect(&page_path("/account/sessions")))
/// }
/// ```
pub fn page_path(to: &str) -> String {
    format!("{BASE}{to}")
}
