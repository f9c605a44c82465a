//! Tests `bulla user import`: users of other systems log in with their passwords, and their hashes are replaced.

use std::{fmt::Write as _, process::Output};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{cluster, server::Server};

/// The password of the hashes below.
const PASSWORD: &str = "Grüße an Ada";
/// Hashes of argon2-cffi, bcrypt, passlib and Django.
const HASHES: [&str; 4] = [
    "$argon2i$v=19$m=64,t=1,p=1$SBX9HK6zIaWE3h6YoGxxTg$hl+gs29XNDpCOX2rqI2P5ePl5I/XudsVVwpFNVH6v7o",
    "$2b$04$Y.Bf4dOjFcva9Us/UDBHXOrpzJztKOdQJj3Y7zjvLzoHqIMUk4diy",
    "$scrypt$ln=8,r=8,p=1$AIAw5tzbW6uVUsq5t1Yq5Q$xkTkJ2QrH7n0Q5nM1MCGVM20hD0FyDmC0rf0HHLeWDc",
    "pbkdf2_sha256$1000$seasalt$IcUYreaoPz8VnxXg21dK8/NXVvf1Jg1XhHdlaL5UpAE=",
];

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs the import of a file with this name and content.
fn import(server: &Server, name: &str, content: &str, options: &[&str]) -> Output {
    std::fs::write(server.path(name), content).unwrap();
    server.cli(&[&["user", "import", name], options].concat())
}

async fn log_in(server: &Server, name: &str, password: &str) -> u16 {
    let browser = server.browser();
    let form = [("username", name), ("password", password)];
    browser.send(browser.request(Method::POST, "/auth/login").form(&form)).await.status().as_u16()
}

#[tokio::test]
async fn ten_thousand_users_with_four_kinds_of_hashes_sign_in() {
    let server = Server::started(&[]);
    server.sqlite3("DELETE FROM users; DELETE FROM audit");
    let mut lines = String::new();
    for at in 0..10_000 {
        let hash = HASHES[at % 4];
        writeln!(lines, "{}", json!({"name": format!("user{at}"), "password_hash": hash})).unwrap();
    }
    let imported = import(&server, "users.jsonl", &lines, &[]);
    assert!(imported.status.success(), "{}", said(&imported));
    assert!(said(&imported).contains("9000 of 10000 users imported"), "{}", said(&imported));
    assert!(said(&imported).ends_with("10000 users imported\n"), "{}", said(&imported));
    assert_eq!(
        server.sqlite3("SELECT count(*) FROM users WHERE password_hash NOT LIKE '$argon2id$%'"),
        "10000"
    );
    assert_eq!(server.sqlite3("SELECT count(*) FROM audit WHERE event = 'user.added'"), "10000");
    // The users are in the order of the file.
    assert_eq!(server.sqlite3("SELECT name FROM users ORDER BY id LIMIT 1 OFFSET 7"), "user7");
    for user in ["user0", "user1", "user2", "user3", "user9998"] {
        assert_eq!(log_in(&server, user, "Grüße an Eva").await, 401, "{user}");
        assert_eq!(log_in(&server, user, PASSWORD).await, 303, "{user}");
        let hash = server.sqlite3(&format!("SELECT password_hash FROM users WHERE name = '{user}'"));
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{user}: {hash}");
        assert_eq!(log_in(&server, user, PASSWORD).await, 303, "{user}, with the new hash");
    }
}

#[test]
fn a_csv_file_has_columns_for_claims_and_roles_are_given_on_request_only() {
    let server = Server::new(&[]);
    let csv = format!(
        "name,password_hash,roles,disabled,claims.email\nlia,\"{}\",\"admin,ops\",,ada@example.org\n\
         eva,{},,true,\n\"Q. \"\"Quote\"\"\",,,false,q@example.org\n",
        HASHES[0], HASHES[1]
    );
    let dry = import(&server, "users.csv", &csv, &["--dry-run"]);
    assert!(said(&dry).ends_with("3 users can be imported\n"), "{}", said(&dry));
    let imported = import(&server, "users.csv", &csv, &[]);
    assert_eq!(
        said(&imported),
        "without --with-roles, the roles of 1 user in the file are not given\n3 users imported\n"
    );
    let users = |server: &Server| -> Vec<Value> {
        let listed = server.cli(&["user", "list", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        // The first user is that of the test server.
        listed["users"].as_array().unwrap()[1..].to_vec()
    };
    let listed = users(&server);
    let fields = |user: &Value| (user["name"].clone(), user["roles"].clone(), user["claims"].clone());
    assert_eq!(fields(&listed[0]), (json!("lia"), json!([]), json!({"email": "ada@example.org"})));
    assert_eq!((&listed[1]["name"], &listed[1]["disabled"]), (&json!("eva"), &json!(true)));
    assert_eq!(fields(&listed[2]), (json!("Q. \"Quote\""), json!([]), json!({"email": "q@example.org"})));
    assert_eq!(listed[2]["password"], json!(false));

    let other = Server::new(&[]);
    let imported = import(&other, "users.csv", &csv, &["--with-roles", "--json"]);
    let report: Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!(report, json!({"users": 3, "skipped": 0, "outcome": "imported"}));
    assert_eq!(users(&other)[0]["roles"], json!(["admin", "ops"]));
}

#[test]
fn a_file_with_a_fault_imports_nothing_and_each_fault_names_its_line_and_no_hash() {
    let server = Server::new(&[]);
    server.add_user("taken", &[]);
    let hash = HASHES[1];
    let lines = [
        json!({"name": "good", "password_hash": hash}).to_string(),
        "{\"name\":".into(),
        json!({"name": "a", "password": "hunter2hunter2"}).to_string(),
        json!({"name": "b", "password_hash": hash.replace("$04$", "$15$")}).to_string(),
        json!({"name": "c", "roles": hash}).to_string(),
        json!({"name": hash, "disabled": hash}).to_string(),
        json!({"name": "d", "claims": {"sid": "x"}}).to_string(),
        json!({"name": "GOOD"}).to_string(),
        json!({"name": "Taken"}).to_string(),
        json!({"name": " e"}).to_string(),
        String::new(),
        json!({"password_hash": hash}).to_string(),
        json!({"name": "f", "roles": ["a b"]}).to_string(),
        json!(hash).to_string(),
        json!(["g", hash, ["admin"]]).to_string(),
        json!({format!("\u{1b}]0;{hash}"): 1}).to_string(),
        json!({"name": "h", "claims": {"text": "x".repeat(3000)}}).to_string(),
        json!({"name": "taKen"}).to_string(),
        json!({"name": "modern"}).to_string(),
        json!({"name": "modem"}).to_string(),
        "{\"name\": \"i\", \"name\": \"j\"}".into(),
    ];
    let failed = import(&server, "users.jsonl", &lines.join("\n"), &[]);
    let said = said(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    for (line, fault) in [
        (2, "can't be read at column 8: EOF"),
        (3, "the field password is unknown"),
        (4, "password_hash has an unknown format or costs too much"),
        (5, "roles must be a list of texts"),
        (6, "disabled must be"),
        (7, "the claim \"sid\" is not accepted"),
        (8, "the name \"GOOD\" stands in the file twice, or looks like"),
        (9, "the user \"Taken\" exists already; --skip-existing"),
        (10, "a name must have"),
        (12, "name is missing"),
        (13, "a role must match"),
        (14, "each line must be a JSON object"),
        (15, "each line must be a JSON object"),
        (16, "a field is unknown; the fields are name"),
        (17, "roles and claims have more than 2500 bytes"),
        (18, "the name \"taKen\" stands in the file twice"),
        (20, "the name \"modem\" stands in the file twice, or looks like another one there"),
        (21, "can't be read at column"),
    ] {
        let expected = format!("line {line}: {fault}");
        assert!(said.lines().any(|line| line.contains(&expected)), "{said} lacks {expected:?}");
    }
    assert!(
        said.starts_with("bulla: nothing was imported, because the file has faults:\nline 2: "),
        "{said}"
    );
    assert!(!said.contains("Y.Bf4dOj") && !said.contains("hunter2") && !said.contains('\u{1b}'), "{said}");
    assert_eq!(server.sqlite3("SELECT count(*) FROM users"), "2");

    let failed = import(&server, "users.csv", "name,mail\na,b\n", &[]);
    assert!(self::said(&failed).contains("the column \"mail\" is unknown"), "{failed:?}");
    let failed = import(&server, "users.csv", "name,disabled\na\nb,perhaps\n", &[]);
    assert!(self::said(&failed).contains("line 2: the line has another number of columns"), "{failed:?}");
    assert!(self::said(&failed).contains("line 3: disabled must be true or false"), "{failed:?}");
    let failed = import(&server, "users.csv", "name,disabled\r\n\r\na,\r\n\r\nb,perhaps\r\n", &[]);
    assert!(self::said(&failed).contains("line 5: disabled must be true or false"), "{failed:?}");
    let failed = import(&server, "users.csv", "name,claims.a,claims.a\na,b,c\n", &[]);
    assert!(
        self::said(&failed).contains("the column \"claims.a\" stands in the first line twice"),
        "{failed:?}"
    );
}

#[test]
fn an_import_is_completed_by_a_second_run() {
    let server = Server::new(&[]);
    let line = |name: &str| json!({"name": name, "password_hash": HASHES[0]}).to_string();
    // A stand-in for another program that takes the name after the check: this trigger refuses one row.
    server.sqlite3(
        "CREATE TRIGGER refuses_one BEFORE INSERT ON users WHEN NEW.name = 'maria' BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    // A byte order mark is no part of the first line.
    let lines = format!("\u{feff}{}", [line("lia"), line("maria"), line("eva")].join("\n"));
    let partly = import(&server, "users.jsonl", &lines, &[]);
    assert_eq!(partly.status.code(), Some(1));
    assert!(said(&partly).starts_with("bulla: 2 users imported. Correct these lines"), "{partly:?}");
    assert!(said(&partly).contains("\nline 2: "), "{partly:?}");
    server.sqlite3("DROP TRIGGER refuses_one");
    let rest = import(&server, "users.jsonl", &lines, &["--skip-existing"]);
    assert!(rest.status.success());
    assert_eq!(said(&rest), "1 user imported, 2 existed already\n");
}

#[test]
fn users_are_imported_into_postgresql() {
    let Some(cluster) = cluster::shared() else { return };
    let created = cluster.create();
    let server = Server::new(&[("BULLA_DATABASE", &created.url)]);
    let _ = server.cli(&["init"]);
    let lines: String = (0..200).fold(String::new(), |lines, at| {
        lines
            + &json!({"name": format!("user{at}"), "password_hash": HASHES[at % 4], "disabled": at == 3})
                .to_string()
            + "\n"
    });
    let imported = server.cli_with(&["user", "import", "-"], &lines);
    assert!(imported.status.success(), "{}", said(&imported));
    let counted =
        cluster::psql(&created.url, "SELECT count(*), count(*) FILTER (WHERE disabled = 1) FROM users");
    assert_eq!(counted.trim(), "201|1");
}

#[tokio::test]
async fn claims_that_do_not_fit_into_a_token_are_refused() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    let user = json!({"name": "lia", "claims": {"text": "x".repeat(2500)}});
    assert_eq!(ada.post("/admin/users", user.clone()).await.status(), 422);
    let change = json!({"claims": user["claims"]});
    let change = ada.request(Method::PATCH, "/admin/users/1").json(&change);
    assert_eq!(ada.send(change).await.status(), 422);
    let long = json!({"text": "x".repeat(2500)}).to_string();
    let failed = server.cli(&["user", "claims", "ada", "--set", &long]);
    assert_eq!(failed.status.code(), Some(2));
    assert!(said(&failed).contains("would not fit into a cookie"), "{failed:?}");
}

/// Users with the largest roles and claims that are accepted can log in.
#[tokio::test]
async fn the_largest_claims_fit_into_a_token() {
    let server = Server::started(&[]);
    let long = json!({"text": "x".repeat(2484)}).to_string();
    server.add_user("lia", &[]);
    let set = server.cli(&["user", "claims", "lia", "--set", &long]);
    assert!(set.status.success(), "{set:?}");
    server.browser().log_in("lia").await;
}
