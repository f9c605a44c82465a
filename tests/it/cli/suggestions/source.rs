//! Finds the commands that messages in the source suggest; each must be in the table of commands that a test runs.

use std::{collections::BTreeSet, fs, path::Path};

/// The beginning of each suggested command, and the test that runs it.
const RUN: [(&str, &str); 38] = [
    ("bulla audit --limit 1", "a_log_that_no_program_has_read_is_read_by_what_the_message_suggests"),
    ("bulla client list", "what_a_message_says_shows_more_shows_it"),
    (
        "bulla client rotate-secret {",
        "what_init_and_client_add_say_comes_next_is_about_the_same_installation",
    ),
    ("bulla doctor", "a_missing_database_and_a_missing_role_are_made_by_what_the_message_suggests"),
    ("bulla init", "a_database_that_is_missing_is_made_by_what_the_message_suggests_wherever_it_was_named"),
    ("bulla keys list", "what_a_message_says_shows_more_shows_it"),
    ("bulla keys not-before {now}", "a_fault_that_keys_check_finds_is_mended_by_what_it_suggests"),
    ("bulla keys revoke --all", "a_lost_ring_is_made_anew_by_the_command_that_every_message_names"),
    ("bulla keys revoke {", "a_damaged_key_is_mended_by_what_its_message_suggests"),
    ("bulla keys rotate", "a_rollover_that_is_refused_goes_by_what_its_message_suggests"),
    ("bulla migrate --help", "what_a_message_says_shows_more_shows_it"),
    ("bulla session list", "what_a_message_says_shows_more_shows_it"),
    ("bulla serve", "what_init_and_client_add_say_comes_next_is_about_the_same_installation"),
    (
        "bulla user add NAME --role admin",
        "what_init_and_client_add_say_comes_next_is_about_the_same_installation",
    ),
    ("bulla user add admin --role admin", "process"),
    ("bulla user list", "what_a_message_says_shows_more_shows_it"),
    ("bulla user passwd {", "a_stored_hash_that_is_none_is_replaced_by_what_the_log_suggests"),
    ("bulla user show {", "what_a_message_says_shows_more_shows_it"),
    (
        "chmod {right:o} {typed}",
        "a_database_that_others_may_write_is_refused_until_the_suggested_command_is_run",
    ),
    ("chmod 600 ", "a_mode_that_lets_others_in_is_mended_by_what_its_message_suggests"),
    ("chmod 640 ", "ring"),
    ("chmod 700 {", "a_mode_that_lets_others_in_is_mended_by_what_its_message_suggests"),
    ("chmod g-wx,o= {", "a_file_with_a_secret_that_others_may_read_is_mended_by_what_doctor_suggests"),
    ("chmod go-w {", "a_file_with_a_secret_that_others_may_read_is_mended_by_what_doctor_suggests"),
    ("chmod go= {", "a_file_with_a_secret_that_others_may_read_is_mended_by_what_doctor_suggests"),
    (
        "chmod o= {",
        "a_tls_key_that_everybody_may_read_or_that_is_encrypted_is_mended_by_what_doctor_suggests",
    ),
    ("chmod u+{", "a_database_that_its_owner_made_unwritable_is_mended_by_what_its_message_suggests"),
    (
        "createdb --owner {",
        "a_database_that_cannot_hold_every_text_is_refused_with_the_command_that_makes_one",
    ),
    ("createdb {", "a_missing_database_and_a_missing_role_are_made_by_what_the_message_suggests"),
    ("createuser {", "a_missing_database_and_a_missing_role_are_made_by_what_the_message_suggests"),
    ("mkdir -p {", "a_database_that_is_missing_is_made_by_what_the_message_suggests_wherever_it_was_named"),
    (
        "openssl pkey ",
        "a_tls_key_that_everybody_may_read_or_that_is_encrypted_is_mended_by_what_doctor_suggests",
    ),
    ("pg_isready {", "a_server_that_does_not_answer_and_a_wrong_password_are_explained"),
    ("psql {", "a_missing_database_and_a_missing_role_are_made_by_what_the_message_suggests"),
    ("rm {", "a_fault_that_keys_check_finds_is_mended_by_what_it_suggests"),
    ("rm -r {", "a_damaged_key_is_mended_by_what_its_message_suggests"),
    ("setpriv --reuid", "a_service_keeps_its_files_when_root_looks_at_them"),
    ("sudo -u '#", "a_user_who_may_not_is_told_how_to_become_the_one_who_may"),
];

/// A suggested command that no test runs, because it changes the machine: it sets the clock.
const NOT_RUN: [&str; 1] = ["timedatectl set-ntp true"];

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

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_command_that_a_message_suggests_is_run_by_a_test() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
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
}

#[test]
fn a_suggestion_is_found_in_the_source() {
    let text = "fn f() {\n    // `bulla comment`\n    say(\"bad; `bulla keys revoke {kid}` or \\\n         `chmod 600 {path}`\");\n}\n#[cfg(test)]\n\"`bulla test`\"";
    assert_eq!(
        suggestions(text).into_iter().collect::<Vec<_>>(),
        ["bulla keys revoke {kid}", "chmod 600 {path}"]
    );
}
