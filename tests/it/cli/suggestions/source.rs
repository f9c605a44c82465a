//! Finds the commands that messages in the source suggest; each must be in the table of commands that a test runs.

use std::{collections::BTreeSet, fs, path::Path};

use crate::core::source;

/// The beginning of each suggested command, and the test that runs it.
const RUN: [(&str, &str); 37] = [
    ("bulla audit --limit 1", "the_command_suggested_for_an_unrecovered_write_ahead_log_recovers_it"),
    ("bulla client list", "a_command_that_a_message_suggests_for_details_shows_them"),
    ("bulla client rotate-secret {", "the_next_steps_of_init_and_client_add_name_the_same_installation"),
    ("bulla doctor", "the_commands_suggested_for_a_missing_database_and_role_create_them"),
    ("bulla init", "the_command_suggested_for_a_missing_database_creates_it"),
    ("bulla keys list", "a_command_that_a_message_suggests_for_details_shows_them"),
    ("bulla keys not-before {now}", "the_command_that_keys_check_suggests_mends_the_fault"),
    (
        "bulla keys revoke --all",
        "every_message_about_a_lost_ring_suggests_the_command_that_creates_a_new_one",
    ),
    ("bulla keys revoke {", "the_command_suggested_for_a_damaged_key_mends_it"),
    ("bulla keys rotate", "the_command_suggested_for_a_refused_rollover_rolls_over"),
    ("bulla migrate --help", "a_command_that_a_message_suggests_for_details_shows_them"),
    ("bulla session list", "a_command_that_a_message_suggests_for_details_shows_them"),
    ("bulla serve", "the_next_steps_of_init_and_client_add_name_the_same_installation"),
    ("bulla user add NAME --role admin", "the_next_steps_of_init_and_client_add_name_the_same_installation"),
    ("bulla user list", "a_command_that_a_message_suggests_for_details_shows_them"),
    ("bulla user passwd {", "the_command_suggested_for_an_invalid_stored_hash_replaces_it"),
    ("bulla user show {", "a_command_that_a_message_suggests_for_details_shows_them"),
    (
        "chmod {right:o} {typed}",
        "a_database_that_other_users_may_write_is_refused_until_the_suggested_command_is_run",
    ),
    ("chmod 600 ", "the_command_suggested_for_an_open_file_mode_closes_it"),
    ("chmod 640 ", "the_command_suggested_for_an_open_file_mode_closes_it"),
    ("chmod 700 {", "the_command_suggested_for_an_open_file_mode_closes_it"),
    ("chmod g-wx,o= {", "the_command_that_doctor_suggests_protects_a_secret_file"),
    ("chmod go-w {", "the_command_that_doctor_suggests_protects_a_secret_file"),
    ("chmod go= {", "the_command_that_doctor_suggests_protects_a_secret_file"),
    ("chmod o= {", "the_command_that_doctor_suggests_mends_a_readable_or_encrypted_tls_key"),
    ("chmod u+{", "the_command_suggested_for_a_read_only_database_makes_it_writable"),
    ("createdb --owner {", "a_database_without_utf8_is_refused_with_the_command_that_creates_one"),
    ("createdb {", "the_commands_suggested_for_a_missing_database_and_role_create_them"),
    ("createuser {", "the_commands_suggested_for_a_missing_database_and_role_create_them"),
    ("mkdir -p {", "the_command_suggested_for_a_missing_database_creates_it"),
    ("openssl pkey ", "the_command_that_doctor_suggests_mends_a_readable_or_encrypted_tls_key"),
    ("pg_isready {", "the_messages_about_an_unreachable_server_and_a_wrong_password_explain_them"),
    ("psql {", "the_commands_suggested_for_a_missing_database_and_role_create_them"),
    ("rm {", "the_command_that_keys_check_suggests_mends_the_fault"),
    ("rm -r {", "the_command_suggested_for_a_damaged_key_mends_it"),
    ("setpriv --reuid", "commands_run_by_root_do_not_change_the_owner_of_a_services_files"),
    ("sudo -u '#", "a_user_without_access_is_told_how_to_run_the_command_as_the_owner"),
];

/// Suggested commands that no test runs: one sets the clock of the machine, the other asks for a password at a terminal.
const NOT_RUN: [&str; 2] = ["timedatectl set-ntp true", "bulla user add admin --role admin"];

/// Programs with which a suggested command may begin.
const PROGRAMS: [&str; 24] = [
    "bulla",
    "chmod",
    "chown",
    "mkdir",
    "rm",
    "mv",
    "cp",
    "ln",
    "createdb",
    "createuser",
    "dropdb",
    "psql",
    "pg_isready",
    "openssl",
    "setpriv",
    "sudo",
    "runuser",
    "su",
    "systemctl",
    "timedatectl",
    "sqlite3",
    "cargo",
    "kill",
    "date",
];

/// Returns the suggested commands in a file, without its tests and comments. String literals that continue over lines are
/// joined.
fn suggestions(text: &str) -> BTreeSet<String> {
    let program = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = program.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", "");
    let mut found = BTreeSet::new();
    for line in joined.lines() {
        for part in line.split('`').skip(1).step_by(2) {
            let first = part.split_whitespace().next().unwrap_or_default();
            if PROGRAMS.contains(&first) && part.contains(' ') {
                found.insert(part.to_owned());
            }
        }
    }
    found
}

/// The Rust files below a folder of the repository: paths and texts.
fn sources(folder: &str) -> Vec<(String, String)> {
    let paths = source::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).into_iter();
    paths.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect()
}

#[test]
fn every_command_that_a_message_suggests_is_run_by_a_test() {
    let files = sources("src");
    let (mut seen, mut unknown) = (BTreeSet::new(), Vec::new());
    for (file, text) in &files {
        for command in suggestions(text) {
            match RUN
                .iter()
                .map(|(begins, _)| *begins)
                .chain(NOT_RUN)
                .find(|begins| command.starts_with(begins))
            {
                Some(begins) => drop(seen.insert(begins)),
                None => unknown.push(format!("{file}: `{command}`")),
            }
        }
    }
    assert!(unknown.is_empty(), "no test runs what these messages suggest:\n{}", unknown.join("\n"));
    let unused: Vec<_> = RUN.iter().filter(|(begins, _)| !seen.contains(begins)).collect();
    assert!(unused.len() <= 3, "these are suggested no more: {unused:?}");
    let tests = sources("tests/it");
    for (command, test) in RUN {
        let function = format!("fn {test}()");
        assert!(tests.iter().any(|(_, text)| text.contains(&function)), "{command}: there is no test {test}");
    }
}

#[test]
fn a_suggested_command_is_found_in_source_text() {
    let text = "fn f() {\n    // `bulla comment`\n    say(\"bad; `bulla keys revoke {kid}` or \\\n         `chmod 600 {path}`\");\n}\n#[cfg(test)]\n\"`bulla test`\"";
    assert_eq!(
        suggestions(text).into_iter().collect::<Vec<_>>(),
        ["bulla keys revoke {kid}", "chmod 600 {path}"]
    );
}
