//! Templates of a site on the pages of Frontdesk.

use crate::clubhouse::club;
use crate::support::breakpoint::until;
use crate::support::routes::routes;
use crate::support::server::Setting;
use crate::support::website::start;
use crate::support::{Browser, Database, Response, registered};

const SITE: &str = "site-under-test";
const GREETING: Setting<'static> = ("SHOP_GREETING", "Hello");

/// Checks that each page has each of `parts` once.
fn assert_parts(pages: &[(String, Response)], parts: &[&str]) {
    for (path, response) in pages {
        for part in parts {
            assert_eq!(response.body.matches(part).count(), 1, "{path}: {part}: {}", response.body);
        }
    }
}

/// The answers of every page of Frontdesk that can be opened without a parameter, and of some errors.
fn pages(browser: &mut Browser) -> Vec<(String, Response)> {
    let routes = routes();
    let paths = routes.iter().filter(|route| route.supports("GET") && !route.path.contains('{'));
    let mut found: Vec<(String, Response)> = paths
        .map(|route| route.path.clone())
        // The site has a page of its own at `/`, which is no HTML, and a fallback.
        .chain(["/logout", "/account/nowhere", "/dev/mailbox"].map(str::to_owned))
        .map(|path| (path.clone(), browser.get(&path)))
        .collect();
    for path in ["/login", "/register", "/forgot-password", "/account/password"] {
        found.push((format!("POST {path}"), browser.post(path, &[])));
    }
    found.retain(|(_, response)| {
        response.header("content-type").is_some_and(|kind| kind.starts_with("text/html"))
    });
    found
}

/// Names and answers.
type Pages = Vec<(String, Response)>;

/// Every page and every mail of Frontdesk in every state, from their samples.
fn samples(browser: &mut Browser) -> (Pages, Pages) {
    let list = browser.get("/dev/templates").body;
    let urls = list.split("href=\"/dev/templates/sample?").skip(1);
    let queries = urls.map(|rest| rest.split('"').next().unwrap().to_owned());
    let is_of_site = |query: &String| query.ends_with("mail%2Freminder");
    let open = |query: String| {
        let sample = browser.get(&format!("/dev/templates/frame?{query}"));
        assert_eq!(sample.status, 200, "{query}: {}", sample.body);
        (query, sample)
    };
    let (mails, pages): (Vec<_>, Vec<_>) = queries
        .filter(|query| !is_of_site(query))
        .map(open)
        .partition(|(query, _)| query.starts_with("sample=mail"));
    assert!(pages.len() > 40 && mails.len() > 40, "{} {}", pages.len(), mails.len());
    (pages, mails)
}

#[test]
fn the_look_of_the_clubhouse_is_on_every_page_and_in_every_mail_of_frontdesk() {
    let (server, _database) = club();
    let mut ada = registered(&server, "ada@example.com");
    let signed_in = pages(&mut ada);
    let signed_out = pages(&mut server.browser());
    assert!(signed_in.len() > 15 && signed_out.len() > 8, "{signed_in:?} {signed_out:?}");
    let (samples, mails) = samples(&mut ada);
    for pages in [&signed_in, &signed_out, &samples] {
        assert_parts(
            pages,
            &[
                "<link rel=\"alternate\" type=\"text/calendar\"",
                "/site.css\">",
                "/logo.svg\"",
                "href=\"/members\"",
                "<footer>The Lake Club, on the water since 1843",
            ],
        );
    }
    for (name, mail) in &mails {
        for part in ["The Lake Club", "#0b4f7d", "#8ccbf2", "#f6f9fb", "#0d1a24"] {
            assert!(mail.body.contains(part), "{name}: {part}: {}", mail.body);
        }
    }
}

#[test]
fn the_header_and_footer_of_a_site_are_on_every_page_of_frontdesk() {
    let database = Database::empty();
    let server = start(SITE, &database, &[GREETING]);
    let mut ada = registered(&server, "ada@example.com");
    let signed_in = pages(&mut ada);
    let signed_out = pages(&mut server.browser());
    assert!(signed_in.len() > 15 && signed_out.len() > 8, "{signed_in:?} {signed_out:?}");
    let (samples, _) = samples(&mut ada);
    for pages in [&signed_in, &signed_out, &samples] {
        assert_parts(
            pages,
            &[
                "<meta name=\"generator\" content=\"Shop\">",
                "Shop header",
                "Shop navigation",
                "<a href=\"/page\">Page</a>",
                "<footer>Shop footer below Frontdesk's page</footer>",
            ],
        );
    }
    let page = ada.get("/page").body;
    assert!(
        page.contains("Shop header") && page.contains("<footer>Shop footer</footer>"),
        "{page}"
    );
}

#[test]
fn the_values_of_every_page_win_over_those_of_a_handler_and_the_log_says_so() {
    let database = Database::empty();
    let server = start(SITE, &database, &[GREETING]);
    let values = |page: String| {
        let (_, rest) = page.split_once("<p id=\"values\">").expect("the values");
        rest.split("</p>").next().unwrap().to_owned()
    };
    let rest = "/page|Shop|en|en English true|Page /page true|true|/login";
    assert_eq!(values(server.browser().get("/page").body), format!("no one|{rest}"));
    let mut ada = registered(&server, "ada@example.com");
    let expected = format!("ADA (ada@example.com), 0 groups|{rest}");
    assert_eq!(values(ada.get("/page").body), expected);
    let replaced = ["viewer", "site", "navigation", "lang"];
    until(|| {
        let log = server.log();
        replaced.iter().all(|name| log.contains(&format!("the field {name} of the page")))
    });
    assert!(!server.log().contains("the field extra"), "only promised values");
    assert!(ada.get("/account").body.contains("<html lang=\"en\">"));
}
